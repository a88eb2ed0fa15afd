import type { Readable } from 'node:stream';

/** What was stored. */
export interface StoredContent {
  /** SHA-256 of the bytes, in hex. */
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

/** First and last byte. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/** How a browser is to treat what it fetches from the store itself. */
export interface LinkHeaders {
  readonly contentType: string;
  readonly contentDisposition: string;
  readonly cacheControl: string;
}

/** Why a store cannot do what it is asked. */
export type BlobFailureKind =
  /** There is no space left. */
  | 'full'
  /** It does not answer, or not as a store does. */
  | 'unreachable';

/** A store that cannot do what it is asked, for a reason that an operator or time mends. Names no credentials. */
export class BlobStoreError extends Error {
  readonly kind: BlobFailureKind;

  constructor(kind: BlobFailureKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.name = 'BlobStoreError';
    this.kind = kind;
  }
}

/**
 * A store for the bytes of media: objects that are written once, under names that are never reused. The database knows what an object is for, and
 * its content.
 */
export interface BlobStore {
  /**
   * Writes an object. It is there for good when this resolves.
   *
   * @throws BlobStoreError
   * @throws what the stream throws; nothing is left then, as far as the store can be reached
   */
  put(name: string, content: Readable): Promise<StoredContent>;
  /**
   * The bytes of an object, or a part of them; undefined when it is not there.
   *
   * @throws BlobStoreError
   */
  open(name: string, range?: ByteRange): Promise<Readable | undefined>;
  /**
   * Deletes objects; those that are not there are gone already.
   *
   * @param signal ends the retries
   * @throws BlobStoreError
   */
  remove(names: readonly string[], signal?: AbortSignal): Promise<void>;
  /**
   * Deletes what was begun under these names, however far it came: the process that wrote it is gone.
   *
   * @throws BlobStoreError
   */
  abandon(names: readonly string[], signal?: AbortSignal): Promise<void>;
  /** An address under which any client can fetch an object for a few minutes; undefined where a store has none to give. */
  link(name: string, headers: LinkHeaders): Promise<string | undefined>;
  close(): Promise<void>;
}

const NAME = /^[0-9a-z]{8,64}$/;

/** @throws TypeError for what is no name of an object: it would lead out of the store */
export const assertBlobName = (name: string): void => {
  if (!NAME.test(name)) throw new TypeError(`${name} is no name of an object`);
};
