import { expect } from 'chai';
import { Readable } from 'node:stream';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { insertMedia } from '#src/storage/media/media.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { InProcessServer } from './in-process-server.ts';

/** Who administrates, where a test calls services itself. */
export const ADMIN: Actor = { userId: '@admin:test', via: 'http' };

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

/** What the server keeps of a file of another server. */
export const keepRemoteMedia = async (
  server: InProcessServer,
  origin: string,
  mediaId: string,
  content: string,
): Promise<void> => {
  const { clock, contents } = server.services;
  await contents.keep(Readable.from([Buffer.from(content)]), async (tx, { name: blob, size }) => {
    const media = { origin, mediaId, userId: '', createdTs: clock.now(), expiresTs: null };
    await insertMedia(tx, media, { blob, size, contentType: 'text/plain', filename: undefined });
  });
};

/** Ids that a user has been given, of so many files whose content is yet to come. */
export const insertManyMedia = async (server: InProcessServer, userId: string, count: number): Promise<void> => {
  const { clock, database } = server.services;
  await database.write(async (tx) => {
    for (let n = 0; n < count; n++) {
      const mediaId = `many-${userId.slice(1).split(':')[0]}-${n}`;
      await insertMedia(tx, { origin: '', mediaId, userId, createdTs: clock.now(), expiresTs: null });
    }
  });
};
