import { expect } from 'chai';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { InProcessServer } from './in-process-server.ts';

/** What was asked for, with its bytes. */
export interface Fetched {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
  /** What a refusal says. */
  readonly errcode: string | undefined;
}

/** One request about media, with bytes both ways. `token` may be a name, as in `InProcessServer`. */
export const fetchMedia = async (
  server: InProcessServer,
  token: string | undefined,
  path: string,
  init: RequestInit = {},
): Promise<Fetched> => {
  const authorization = token === undefined ? {} : { Authorization: `Bearer ${(await server.session(token)).token}` };
  const headers = { ...authorization, ...(init.headers as Record<string, string> | undefined) };
  const response = await fetch(server.url + path, { redirect: 'manual', ...init, headers });
  const bytes = Buffer.from(await response.arrayBuffer());
  const isRefusal = response.status >= 400 && bytes.length > 0 && response.status !== 416;
  const errcode = isRefusal ? (JSON.parse(bytes.toString()) as { errcode: string }).errcode : undefined;
  return { status: response.status, headers: response.headers, bytes, errcode };
};

/** Uploads, and returns the `mxc://` URI. */
export const uploadMedia = async (
  server: InProcessServer,
  token: string,
  content: string | Uint8Array<ArrayBuffer>,
  type = 'text/plain',
  filename?: string,
): Promise<string> => {
  const query = filename === undefined ? '' : `?filename=${encodeURIComponent(filename)}`;
  const headers = { 'Content-Type': type };
  const answer = await fetchMedia(server, token, `/_matrix/media/v3/upload${query}`, {
    method: 'POST',
    headers,
    body: content,
  });
  expect(answer.status, answer.bytes.toString()).to.equal(200);
  return (JSON.parse(answer.bytes.toString()) as { content_uri: string }).content_uri;
};

export const downloadMedia = (
  server: InProcessServer,
  token: string | undefined,
  uri: string,
  init: RequestInit = {},
  more = '',
): Promise<Fetched> =>
  fetchMedia(server, token, `/_matrix/client/v1/media/download/${uri.replace('mxc://', '')}${more}`, init);

/** The files in a folder and below it. */
export const filesIn = async (folder: string): Promise<string[]> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
};
