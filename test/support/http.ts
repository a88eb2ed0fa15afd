import { recorder } from './schema-recorder.ts';

/** Origins of other implementations: their answers are not checked. */
export const notOurs = new Set<string>();

/**
 * `fetch`, with every answer of an endpoint of the specification shown to the schema recorder. Everything in the tests
 * that talks HTTP to a server does it through this.
 */
export const recordedFetch: typeof fetch = async (input, init) => {
  const response = await fetch(input, init);
  const url = new URL(response.url);
  if (notOurs.has(url.origin)) return response;
  const method = init?.method ?? (input instanceof Request ? input.method : 'GET');
  const type = response.headers.get('content-type') ?? '';
  // The body of an aborted request fails as well.
  const text = await response
    .clone()
    .text()
    .catch(() => undefined);
  if (text !== undefined)
    recorder.record(
      method,
      url.pathname + url.search,
      response.status,
      type.startsWith('application/json') ? JSON.parse(text) : undefined,
    );
  return response;
};

/** An answer of a server. */
export interface Answer {
  readonly status: number;
  // What a test expects in a body it says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
  readonly headers: Headers;
}

/** Token, body and headers of a request. */
export interface Sent {
  readonly token?: string | undefined;
  /** JSON. */
  readonly body?: unknown;
  /** A raw body, sent as JSON. */
  readonly raw?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** One request to the server at `baseUrl`; `path` is under /_matrix/client/v3 unless it begins with `/_` or `/.`. */
export async function ask(
  baseUrl: string,
  method: string,
  path: string,
  { token, body, raw, headers }: Sent = {},
): Promise<Answer> {
  const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body));
  const response = await recordedFetch(baseUrl + (/^\/[_.]/.test(path) ? path : `/_matrix/client/v3${path}`), {
    method,
    headers: {
      ...(payload === undefined ? {} : { 'Content-Type': 'application/json' }),
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...headers,
    },
    ...(payload === undefined ? {} : { body: payload }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return { status: response.status, body: isJson ? JSON.parse(text) : text, headers: response.headers };
}

/** As `ask`, for requests that have to succeed; the body alone. */
// oxlint-disable-next-line typescript/no-explicit-any
export async function must(baseUrl: string, method: string, path: string, sent: Sent = {}): Promise<any> {
  const { status, body } = await ask(baseUrl, method, path, sent);
  if (status !== 200) throw new Error(`${method} ${path}: ${status} ${JSON.stringify(body)}`);
  return body;
}
