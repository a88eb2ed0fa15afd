import { readFile } from 'node:fs/promises';
import { type CliConfig, type CliPorts, localAddress } from './ports.ts';

const TIMEOUT_MS = 15_000;

/** Where the running server is, and the access token of an administrator there, which is read from a file or asked for. */
export async function asAdministrator(
  ports: Pick<CliPorts, 'askSecret'>,
  config: CliConfig,
  options: { readonly accessTokenFile: string | undefined; readonly url: string | undefined },
): Promise<{ readonly server: string; readonly accessToken: string }> {
  const { accessTokenFile, url } = options;
  const accessToken =
    accessTokenFile === undefined
      ? await ports.askSecret('Access token of an administrator: ')
      : await readFile(accessTokenFile, 'utf8');
  return { server: (url ?? localAddress(config)).replace(/\/+$/, ''), accessToken: accessToken.trim() };
}

/**
 * One request to the running server. Returns its JSON.
 *
 * @param accessToken of the operator; none when left out
 * @throws with a message for the operator
 */
export async function request(
  method: 'GET' | 'POST' | 'DELETE',
  url: string,
  body?: unknown,
  accessToken?: string,
): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(accessToken === undefined ? {} : { authorization: `Bearer ${accessToken}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch (error) {
    throw new Error(`no server answers at ${url}: is it running? --url names another address`, { cause: error });
  }
  const answer = (await response.json().catch(() => ({}))) as { errcode?: string; error?: string };
  if (!response.ok) {
    throw new Error(
      `the server refused (${response.status} ${answer.errcode ?? ''}): ${answer.error ?? 'no reason given'}`,
    );
  }
  return answer;
}
