import { Lazy } from '#src/kernel/caches/lazy.ts';
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Timers } from '#src/kernel/timers.ts';
import {
  assertBlobName,
  type BlobStore,
  BlobStoreError,
  type ByteRange,
  type LinkHeaders,
  type StoredContent,
} from './blob-store.ts';
import type { S3Answer, S3Client, S3ClientOptions, S3Request } from './s3-client.ts';

export interface S3BlobStoreOptions extends Omit<S3ClientOptions, 'connections' | 'connectMs' | 'answerMs'> {
  readonly timers: Timers;
  /** Whether links are given out that lead to the store itself. */
  readonly givesLinks: boolean;
  /** Requests at the same time; default 32. */
  readonly connections?: number;
  /** Milliseconds; default 10 s and 30 s. */
  readonly connectMs?: number;
  readonly answerMs?: number;
  /** Bytes of the pieces in which large objects are sent; default 5 MiB, the least that Amazon takes. */
  readonly partBytes?: number;
}

const PART_BYTES = 5 * 1024 * 1024;
/** How often a request is made before its failure counts. */
const TRIES = 4;
/** Before the second try; before each further one twice as long. */
const FIRST_PAUSE_MS = 200;
/** Objects that are deleted at once. */
const DELETED_AT_ONCE = 16;
const PASSING: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/**
 * Objects of a bucket in an S3-compatible store. An object is sent as it arrives, in pieces of which two at most are in memory; so
 * large ones are as good as small ones. The client is loaded with the first request.
 */
export class S3BlobStore implements BlobStore {
  readonly #options: S3BlobStoreOptions;
  readonly #partBytes: number;
  readonly #client = new Lazy(() => this.#connect());

  constructor(options: S3BlobStoreOptions) {
    this.#options = options;
    this.#partBytes = options.partBytes ?? PART_BYTES;
  }

  async put(name: string, content: Readable): Promise<StoredContent> {
    assertBlobName(name);
    const hash = createHash('sha256');
    const counted = { size: 0 };
    const parts = partsOf(content, this.#partBytes, (chunk) => {
      hash.update(chunk);
      counted.size += chunk.byteLength;
    });
    try {
      const first = await parts.next();
      const second = first.done === true ? first : await parts.next();
      if (first.done === true || second.done === true)
        await this.#done({ method: 'PUT', name, body: first.done === true ? Buffer.alloc(0) : first.value }, 'write');
      else await this.#putParts(name, first.value, second.value, parts);
      return { digest: hash.digest('hex'), size: counted.size };
    } finally {
      await parts.return(undefined);
      content.destroy();
    }
  }

  async open(name: string, range?: ByteRange): Promise<Readable | undefined> {
    assertBlobName(name);
    const headers: Record<string, string> = range === undefined ? {} : { range: `bytes=${range.first}-${range.last}` };
    const answer = await this.#send({ method: 'GET', name, headers });
    if (answer.statusCode === 404) {
      await answer.body.dump();
      return undefined;
    }
    // A store that understands the range otherwise would have the wrong bytes handed out.
    const length = answer.headers['content-length'];
    const isWrong = range !== undefined && length !== undefined && Number(length) !== range.last - range.first + 1;
    if (answer.statusCode !== (range === undefined ? 200 : 206) || isWrong) throw await failed(answer, 'read');
    return answer.body;
  }

  async remove(names: readonly string[], signal?: AbortSignal): Promise<void> {
    for (let from = 0; from < names.length; from += DELETED_AT_ONCE)
      await Promise.all(names.slice(from, from + DELETED_AT_ONCE).map((name) => this.#remove(name, signal)));
  }

  async abandon(names: readonly string[], signal?: AbortSignal): Promise<void> {
    await this.remove(names, signal);
    for (const name of names) await this.#abortUploads(name, signal);
  }

  async link(
    name: string,
    { contentType, contentDisposition, cacheControl }: LinkHeaders,
  ): Promise<string | undefined> {
    if (!this.#options.givesLinks) return undefined;
    assertBlobName(name);
    return (await this.#client.get()).link(name, {
      'response-content-type': contentType,
      'response-content-disposition': contentDisposition,
      'response-cache-control': cacheControl,
    });
  }

  async close(): Promise<void> {
    await (await this.#client.made)?.close();
  }

  /** Sends an object in pieces: one is on its way while the next one arrives. */
  async #putParts(name: string, first: Buffer, second: Buffer, rest: AsyncIterator<Buffer>): Promise<void> {
    const begun = await this.#answer({ method: 'POST', name, query: { uploads: '' } }, 'write');
    const uploadId = elementOf(begun, 'UploadId');
    if (uploadId === undefined) throw new BlobStoreError('unreachable', 'the object store began no upload');
    const tags: string[] = [];
    const send = async (body: Buffer, partNumber: number): Promise<void> => {
      const query = { partNumber: String(partNumber), uploadId };
      const answer = await this.#done({ method: 'PUT', name, query, body }, 'write');
      const tag = answer.headers['etag'];
      if (typeof tag !== 'string')
        throw new BlobStoreError('unreachable', 'the object store took a piece without a tag');
      tags[partNumber - 1] = tag;
    };
    try {
      await send(first, 1);
      let part: Buffer | undefined = second;
      for (let number = 2; part !== undefined; number++) {
        const sending = send(part, number);
        // It is awaited after the next piece has come, and must not count as unhandled until then.
        sending.catch(() => undefined);
        const next: IteratorResult<Buffer> = await rest.next();
        await sending;
        part = next.done === true ? undefined : next.value;
      }
      const list = tags.map((tag, at) => `<Part><PartNumber>${at + 1}</PartNumber><ETag>${escaped(tag)}</ETag></Part>`);
      const body = Buffer.from(`<CompleteMultipartUpload>${list.join('')}</CompleteMultipartUpload>`);
      const headers = { 'content-type': 'application/xml' };
      // The store answers 200 before it knows how it ends, and says in the body if it ended badly.
      const end = await this.#answer({ method: 'POST', name, query: { uploadId }, headers, body }, 'write');
      const code = elementOf(end, 'Code');
      if (code !== undefined) throw new BlobStoreError('unreachable', `the object store lost an upload (${code})`);
    } catch (error) {
      await this.#send({ method: 'DELETE', name, query: { uploadId } })
        .then((answer) => answer.body.dump())
        .catch(() => undefined);
      throw error;
    }
  }

  async #remove(name: string, signal: AbortSignal | undefined): Promise<void> {
    assertBlobName(name);
    const answer = await this.#send({ method: 'DELETE', name }, signal);
    if (answer.statusCode !== 204 && answer.statusCode !== 200 && answer.statusCode !== 404)
      throw await failed(answer, 'delete');
    await answer.body.dump();
  }

  /** Gives up what was begun in pieces and never finished, which no deletion takes away. */
  async #abortUploads(name: string, signal: AbortSignal | undefined): Promise<void> {
    const query = { uploads: '', prefix: this.#options.prefix + name };
    const answer = await this.#send({ method: 'GET', query }, signal);
    if (answer.statusCode !== 200) {
      // Not every store lists them; those that do not clear them away by themselves.
      await answer.body.dump();
      return;
    }
    const { textOf } = await import('./s3-client.ts');
    for (const [, upload = ''] of (await textOf(answer)).matchAll(/<Upload>([\s\S]*?)<\/Upload>/g)) {
      const uploadId = elementOf(upload, 'UploadId');
      if (uploadId === undefined || elementOf(upload, 'Key') !== this.#options.prefix + name) continue;
      const aborted = await this.#send({ method: 'DELETE', name, query: { uploadId } }, signal);
      await aborted.body.dump();
    }
  }

  /** The text of an answer. @throws BlobStoreError when it is none of success */
  async #answer(request: S3Request, what: string): Promise<string> {
    const answer = await this.#send(request);
    if (answer.statusCode !== 200) throw await failed(answer, what);
    const { textOf } = await import('./s3-client.ts');
    return textOf(answer);
  }

  async #done(request: S3Request, what: string): Promise<S3Answer> {
    const answer = await this.#send(request);
    if (answer.statusCode !== 200) throw await failed(answer, what);
    await answer.body.dump();
    return answer;
  }

  /** Makes a request again as long as its failure may pass. Each of ours can be made twice. */
  async #send(request: S3Request, signal?: AbortSignal): Promise<S3Answer> {
    const client = await this.#client.get();
    for (let tried = 1; ; tried++) {
      let failure: unknown;
      try {
        const answer = await client.send(request);
        if (!PASSING.has(answer.statusCode) || tried === TRIES || signal?.aborted === true) return answer;
        await answer.body.dump().catch(() => undefined);
      } catch (error) {
        if (tried === TRIES || signal?.aborted === true) throw error;
        failure = error;
      }
      if (failure !== undefined && !(failure instanceof BlobStoreError)) throw failure;
      await this.#options.timers.sleep(FIRST_PAUSE_MS * 2 ** (tried - 1), signal);
    }
  }

  async #connect(): Promise<S3Client> {
    const { connections = 32, connectMs = 10_000, answerMs = 30_000, ...options } = this.#options;
    const { S3Client: Client } = await import('./s3-client.ts');
    return new Client({ ...options, connections, connectMs, answerMs });
  }
}

/** A stream in pieces of one size; the last one is shorter. */
async function* partsOf(
  content: Readable,
  size: number,
  passed: (chunk: Buffer) => void,
): AsyncGenerator<Buffer, void, undefined> {
  let chunks: Buffer[] = [];
  let held = 0;
  for await (const chunk of content) {
    let bytes = chunk as Buffer;
    passed(bytes);
    while (held + bytes.byteLength >= size) {
      const head = bytes.subarray(0, size - held);
      bytes = bytes.subarray(head.byteLength);
      const part = Buffer.concat([...chunks, head], size);
      chunks = [];
      held = 0;
      yield part;
    }
    if (bytes.byteLength === 0) continue;
    chunks.push(bytes);
    held += bytes.byteLength;
  }
  if (held > 0) yield Buffer.concat(chunks, held);
}

const elementOf = (xml: string, name: string): string | undefined => {
  const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
  return text?.replace(/&(amp|lt|gt|quot|apos|#34|#39);/g, (entity) => ENTITIES[entity] ?? entity);
};

const ENTITIES: Readonly<Record<string, string>> = {
  '&amp;': '&',
  '&lt;': '<',
  '&gt;': '>',
  '&quot;': '"',
  '&apos;': "'",
  '&#34;': '"',
  '&#39;': "'",
};

const escaped = (text: string): string => text.replace(/[&<>]/g, (char) => `&#${char.charCodeAt(0)};`);

const failed = async (answer: S3Answer, what: string): Promise<BlobStoreError> => {
  const { textOf } = await import('./s3-client.ts');
  const code = await textOf(answer).then(
    (text) => elementOf(text, 'Code'),
    () => undefined,
  );
  const isFull = answer.statusCode === 507 || code === 'QuotaExceeded' || code === 'XMinioStorageFull';
  const reason = `${answer.statusCode}${code === undefined ? '' : ` ${code.slice(0, 100)}`}`;
  return new BlobStoreError(
    isFull ? 'full' : 'unreachable',
    `the object store does not let this server ${what} objects (${reason})`,
  );
};
