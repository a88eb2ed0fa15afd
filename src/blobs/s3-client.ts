import { AwsV4Signer } from 'aws4fetch';
import { createHash } from 'node:crypto';
import { type Dispatcher, Pool } from 'undici';
import { BlobStoreError } from './blob-store.ts';

export interface S3ClientOptions {
  /** `https://s3.example.org`, or with a path before the bucket. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** Begins the names of all objects. */
  readonly prefix: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Whether the bucket stands in the path instead of the host name. */
  readonly pathStyle: boolean;
  /** Certificate authorities in PEM, all of them; undefined for the system's. */
  readonly certificateAuthorities?: readonly string[] | undefined;
  /** Requests at the same time; further ones wait. Reading has connections of its own: slow readers hold up nobody who writes. */
  readonly connections: number;
  /** Milliseconds to connect in, and until the header of a response is there or the next piece of its body. */
  readonly connectMs: number;
  readonly answerMs: number;
}

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  /** Without the prefix; none for what is asked of the bucket. */
  readonly name?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

export type S3Answer = Dispatcher.ResponseData;

const NO_BYTES = Buffer.alloc(0);
/** Bytes of a response about an object. */
const MAX_TEXT = 1024 * 1024;
/** Seconds for which a link is good. */
const LINK_SECONDS = 300;

/**
 * Signed requests to one bucket. All of them go to the endpoint that the operator has named, which is why no address is refused, and
 * nowhere else: redirects are not followed. What fails is told without URLs and headers, which hold signatures.
 */
export class S3Client {
  readonly #options: S3ClientOptions;
  readonly #base: URL;
  readonly #pool: Pool;
  /** As many as there are readers, whose number the server bounds. */
  readonly #readers: Pool;

  constructor(options: S3ClientOptions) {
    this.#options = options;
    const { endpoint, bucket, pathStyle, certificateAuthorities: ca } = options;
    const base = new URL(endpoint);
    const path = base.pathname.replace(/\/+$/, '');
    if (!pathStyle) base.hostname = `${bucket}.${base.hostname}`;
    base.pathname = pathStyle ? `${path}/${bucket}/` : `${path}/`;
    this.#base = base;
    const settings = {
      pipelining: 1,
      keepAliveTimeout: 10_000,
      headersTimeout: options.answerMs,
      bodyTimeout: options.answerMs,
      connect: { timeout: options.connectMs, ...(ca === undefined ? {} : { ca: [...ca] }) },
    };
    this.#pool = new Pool(base.origin, { ...settings, connections: options.connections });
    this.#readers = new Pool(base.origin, settings);
  }

  /**
   * Makes one request. The body of the response has to be read or destroyed.
   *
   * @throws BlobStoreError when there is no response
   */
  async send({ method, name, query = {}, headers = {}, body = NO_BYTES }: S3Request): Promise<S3Answer> {
    const url = this.#urlOf(name, query);
    const signed = await this.#signer(method, url, {
      ...headers,
      'x-amz-content-sha256': createHash('sha256').update(body).digest('hex'),
    }).sign();
    const sent: Record<string, string> = {};
    signed.headers.forEach((value, key) => {
      if (key !== 'host') sent[key] = value;
    });
    if (method === 'PUT' || method === 'POST') sent['content-length'] = String(body.byteLength);
    try {
      return await (method === 'GET' ? this.#readers : this.#pool).request({
        method,
        path: signed.url.pathname + spelled(signed.url.search),
        headers: sent,
        body: body.byteLength === 0 ? null : body,
      });
    } catch (error) {
      throw unreachable(error);
    }
  }

  /** A signed address of an object, for a few minutes. */
  async link(name: string, query: Readonly<Record<string, string>>): Promise<string> {
    const url = this.#urlOf(name, { ...query, 'X-Amz-Expires': String(LINK_SECONDS) });
    const signed = await this.#signer('GET', url, {}, true).sign();
    signed.url.search = spelled(signed.url.search);
    return signed.url.href;
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    await Promise.all([this.#pool.destroy(), this.#readers.destroy()]);
  }

  #signer(method: string, url: URL, headers: Record<string, string>, signQuery = false): AwsV4Signer {
    const { accessKeyId, secretAccessKey, region } = this.#options;
    const service = 's3';
    return new AwsV4Signer({
      method,
      url: url.href,
      headers,
      accessKeyId,
      secretAccessKey,
      service,
      region,
      signQuery,
    });
  }

  #urlOf(name: string | undefined, query: Readonly<Record<string, string>>): URL {
    const url = new URL(this.#base);
    if (name !== undefined) url.pathname += this.#options.prefix + name;
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    return url;
  }
}

/** A query as signatures spell it: a space is no plus there. */
const spelled = (search: string): string => search.replaceAll('+', '%20');

/** The whole body of a short answer, as text. @throws BlobStoreError when it breaks off, or is not short */
export const textOf = async ({ body }: S3Answer): Promise<string> => {
  let text = '';
  try {
    body.setEncoding('utf8');
    for await (const chunk of body) {
      text += String(chunk);
      if (text.length > MAX_TEXT) throw new BlobStoreError('unreachable', 'the object store answers at length');
    }
    return text;
  } catch (error) {
    throw error instanceof BlobStoreError ? error : unreachable(error);
  }
};

/** What failed, without anything that a request consisted of. */
export const unreachable = (error: unknown): BlobStoreError => {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined;
  const reason = typeof code === 'string' ? code : error instanceof Error ? error.name : 'unknown';
  return new BlobStoreError('unreachable', `the object store does not answer (${reason})`);
};
