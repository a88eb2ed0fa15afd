import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** Which thumbnail of which content. */
export interface ThumbnailKey {
  /** SHA-256 of the content. */
  readonly source: string;
  readonly width: number;
  readonly height: number;
  readonly method: 'crop' | 'scale';
  readonly animated: boolean;
}

export interface ThumbnailRecord extends ThumbnailKey {
  readonly digest: string;
  readonly size: number;
  readonly contentType: string;
}

const KEY = 'source = $1 and width = $2 and height = $3 and method = $4 and animated = $5';
const FIND = sql(
  'thumbnail_find',
  `select source, width, height, method, animated, digest, size, content_type as "contentType" from thumbnails where ${KEY}`,
);
const INSERT = sql(
  'thumbnail_insert',
  `insert into thumbnails (source, width, height, method, animated, digest, size, content_type) values ($1, $2, $3, $4, $5, $6, $7, $8)
   on conflict do nothing`,
);

const valuesOf = ({ source, width, height, method, animated }: ThumbnailKey): unknown[] => [
  source,
  width,
  height,
  method,
  animated,
];

export const findThumbnail = async (database: Database, key: ThumbnailKey): Promise<ThumbnailRecord | undefined> =>
  (await database.query<ThumbnailRecord>(FIND, valuesOf(key)))[0];

export const insertThumbnail = async (database: Database, thumbnail: ThumbnailRecord): Promise<void> => {
  await database.query(INSERT, [...valuesOf(thumbnail), thumbnail.digest, thumbnail.size, thumbnail.contentType]);
};
