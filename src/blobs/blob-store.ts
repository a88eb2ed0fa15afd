import type { Readable } from 'node:stream';

/** Content as it is stored: once, under the hash of its bytes. */
export interface StoredBlob {
  /** SHA-256 in hex. */
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
}

/** First and last byte. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/** Where the bytes of media lie. */
export interface BlobStore {
  /**
   * Stores what a stream brings, once for the same bytes. It is there for good when this resolves.
   *
   * @throws what the stream throws; nothing is left then
   */
  put(content: Readable): Promise<StoredBlob>;
  /** The bytes of a blob, or a part of them; undefined when it is not there. */
  open(digest: string, range?: ByteRange): Promise<Readable | undefined>;
  /** Deletes a blob; nothing when it is not there. */
  remove(digest: string): Promise<void>;
}
