import { readFileSync } from 'node:fs';
import { Agent, request } from 'undici';
import type { Answer, Sent } from '#test/support/http.ts';
import { recorder } from '#test/support/schema-recorder.ts';

/** The authority that has signed the certificates of the tests' servers, in PEM. */
export const AUTHORITY_FILE = new URL('../certificates/authority.crt', import.meta.url).pathname;

const agent = new Agent({
  connect: { ca: readFileSync(AUTHORITY_FILE), servername: 'a.test' },
  keepAliveTimeout: 1_000,
});

/** One request to a server as another server sends it, with every answer shown to the schema recorder. @param path with its query */
export async function federationFetch(
  baseUrl: string,
  method: 'GET' | 'PUT' | 'POST',
  path: string,
  { raw, headers }: Pick<Sent, 'raw' | 'headers'> = {},
): Promise<Answer> {
  const response = await request(baseUrl + path, {
    method,
    dispatcher: agent,
    headers: { ...(raw === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    body: raw ?? null,
  });
  const text = await response.body.text();
  const type = String(response.headers['content-type'] ?? '');
  const body: unknown = type.startsWith('application/json') ? JSON.parse(text) : text;
  recorder.record(method, path, response.statusCode, typeof body === 'string' ? undefined : body);
  const answered = new Headers();
  for (const [name, value] of Object.entries(response.headers))
    if (value !== undefined) answered.set(name, String(value));
  return { status: response.statusCode, body, headers: answered };
}
