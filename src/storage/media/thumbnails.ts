import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';
import type { BlobRecord } from './blobs.ts';

/** Which thumbnail of which content. */
export interface ThumbnailKey {
  /** Name of the object that has the image. */
  readonly source: string;
  readonly width: number;
  readonly height: number;
  readonly method: 'crop' | 'scale';
  readonly animated: boolean;
}

export interface ThumbnailRecord {
  readonly blob: BlobRecord;
  readonly contentType: string;
}

const KEY = 't.source = $1 and t.width = $2 and t.height = $3 and t.method = $4 and t.animated = $5';
const FIND = sql(
  'thumbnail_find',
  `select b.name, b.place, b.digest, b.size, b.scan, t.content_type as "contentType"
   from thumbnails t join blobs b on b.name = t.blob where ${KEY}`,
);
const INSERT = sql(
  'thumbnail_insert',
  `insert into thumbnails (source, width, height, method, animated, blob, content_type)
   select b.name, $2, $3, $4, $5, $6, $7 from blobs b where b.name = $1 and not b.doomed for key share of b
   on conflict do nothing returning 1`,
);

const valuesOf = ({ source, width, height, method, animated }: ThumbnailKey): unknown[] => [
  source,
  width,
  height,
  method,
  animated,
];

export const findThumbnail = async (database: Database, key: ThumbnailKey): Promise<ThumbnailRecord | undefined> => {
  const [row] = await database.query<BlobRecord & { readonly contentType: string }>(FIND, valuesOf(key));
  if (row === undefined) return undefined;
  const { contentType, ...blob } = row;
  return { blob, contentType };
};

/** Notes a thumbnail. Returns false when there is one, or its image is going. */
export const insertThumbnail = async (
  tx: Tx,
  key: ThumbnailKey,
  { blob, contentType }: { readonly blob: string; readonly contentType: string },
): Promise<boolean> => (await tx.query(INSERT, [...valuesOf(key), blob, contentType])).length > 0;
