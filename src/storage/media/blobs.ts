import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

/** The store of an object. */
export type BlobPlace = 'file' | 's3';

/** The verdict of a scanner. */
export type ScanVerdict = 'clean' | 'infected';

/** An object of a blob store whose content is complete. */
export interface BlobRecord {
  readonly name: string;
  readonly place: BlobPlace;
  /** SHA-256 of the bytes, in hex. */
  readonly digest: string;
  /** Bytes. */
  readonly size: number;
  /** Null until it is scanned. */
  readonly scan: ScanVerdict | null;
}

const COLUMNS = 'b.name, b.place, b.digest, b.size, b.scan';
const BEGIN = sql('blob_begin', 'insert into blobs (name, place, started_ts) values ($1, $2, $3)');
// A transaction that is about to doom it waits, and sees what refers to it then.
const LOCK_LIVE = sql(
  'blob_lock_live',
  `select ${COLUMNS} from blobs b where b.digest = $1 and not b.doomed for key share of b`,
);
const COMPLETE = sql(
  'blob_complete',
  `update blobs b set digest = $2, size = $3 where b.name = $1 and b.digest is null and not b.doomed returning ${COLUMNS}`,
);
const DOOM_INCOMPLETE = sql(
  'blob_doom_incomplete',
  'update blobs set doomed = true where name = $1 and digest is null and not doomed returning name',
);
const DOOM_UNFINISHED = sql(
  'blob_doom_unfinished',
  `update blobs set doomed = true where name in (
     select name from blobs where digest is null and not doomed and started_ts < $1 limit $2 for update skip locked
   ) returning name`,
);
const LOCK = sql('blob_lock', 'select name from blobs where name = any($1::text[]) order by name for update');
const DOOM_THUMBNAILS = sql(
  'blob_doom_thumbnails',
  `delete from thumbnails t where t.source = any($1::text[])
     and not exists (select 1 from media m where m.blob = t.source)
     and not exists (select 1 from thumbnails other where other.blob = t.source and other.source <> t.source)
   returning t.blob as name`,
);
const DOOM = sql(
  'blob_doom',
  `update blobs b set doomed = true where b.name = any($1::text[]) and not b.doomed
     and not exists (select 1 from media m where m.blob = b.name)
     and not exists (select 1 from thumbnails t where t.blob = b.name)
     and not exists (select 1 from thumbnails t where t.source = b.name) returning b.name`,
);
const DOOMED = sql(
  'blob_doomed',
  'select name, place, digest is not null as "isComplete" from blobs where doomed and place = any($1::text[]) order by name limit $2',
);
const DELETE_DOOMED = sql('blob_delete_doomed', 'delete from blobs where doomed and name = any($1::text[])');
const SCANNED = sql('blob_scanned', 'update blobs set scan = $2 where name = $1');
const TOTAL = sql('blob_total', 'select coalesce(sum(size), 0)::bigint as bytes from blobs');
const IN_PLACE = sql(
  'blob_in_place',
  `select ${COLUMNS} from blobs b where b.place = $1 and b.name > $2 and b.digest is not null and not b.doomed
   order by b.name limit $3`,
);
const MOVE = sql(
  'blob_move',
  'update blobs set place = $3 where name = $1 and place = $2 and not doomed returning name',
);
const PLACES = sql('blob_places', 'select name, place from blobs where name = any($1::text[])');

/** Notes that an object is going to be written, so that it is cleaned up after a crash. */
export const beginBlob = async (database: Database, name: string, place: BlobPlace, now: number): Promise<void> => {
  await database.query(BEGIN, [name, place, now]);
};

/** The object that has this content already, if there is one. It stays as long as the transaction is open. */
export const lockLiveBlob = async (tx: Tx, digest: string): Promise<BlobRecord | undefined> =>
  (await tx.query<BlobRecord>(LOCK_LIVE, [digest]))[0];

/**
 * Notes what was written. Returns undefined when it took so long that the object was taken for a leftover.
 *
 * @throws when another object has the same content by now (`blobs_digest`)
 */
export const completeBlob = async (
  tx: Tx,
  name: string,
  content: { readonly digest: string; readonly size: number },
): Promise<BlobRecord | undefined> => (await tx.query<BlobRecord>(COMPLETE, [name, content.digest, content.size]))[0];

/** Dooms an object that was not needed. Returns false when it has come to its use nevertheless. */
export const doomIncompleteBlob = async (database: Database, name: string): Promise<boolean> =>
  (await database.query(DOOM_INCOMPLETE, [name])).length > 0;

/** Dooms objects whose writing was not finished since a time, `limit` at most. Returns how many. */
export const doomUnfinishedBlobs = async (database: Database, before: number, limit: number): Promise<number> =>
  (await database.query(DOOM_UNFINISHED, [before, limit])).length;

/**
 * Dooms those of these objects that nothing refers to any more, with their thumbnails. A transaction that is about to refer to one of them is
 * waited for, or finds that it is not there.
 */
export const doomUnusedBlobs = async (tx: Tx, names: readonly string[]): Promise<void> => {
  // What was a thumbnail may have thumbnails itself, where a user uploaded it.
  for (let unused = names; unused.length > 0;) {
    await tx.query(LOCK, [unused]);
    const thumbnails = await tx.query<{ name: string }>(DOOM_THUMBNAILS, [unused]);
    await tx.query(DOOM, [unused]);
    unused = thumbnails.map(({ name }) => name);
  }
};

/** Objects of some stores whose bytes are to be deleted, `limit` at most. */
export const doomedBlobs = (
  database: Database,
  places: readonly string[],
  limit: number,
): Promise<{ readonly name: string; readonly place: BlobPlace; readonly isComplete: boolean }[]> =>
  database.query(DOOMED, [places, limit]);

/** Forgets doomed objects whose bytes are gone. */
export const deleteDoomedBlobs = async (database: Database, names: readonly string[]): Promise<void> => {
  await database.query(DELETE_DOOMED, [names]);
};

export const noteScan = async (database: Database, name: string, verdict: ScanVerdict): Promise<void> => {
  await database.query(SCANNED, [name, verdict]);
};

/** Bytes of all objects together. */
export const bytesOfBlobs = async (database: Database): Promise<number> =>
  (await database.query<{ bytes: number }>(TOTAL))[0]?.bytes ?? 0;

/** Objects of a store whose names come after one, in order. */
export const blobsInPlace = (
  database: Database,
  place: BlobPlace,
  after: string,
  limit: number,
): Promise<BlobRecord[]> => database.query<BlobRecord>(IN_PLACE, [place, after, limit]);

/** Notes that an object was moved to another store. Returns false when it is gone, or was moved already. */
export const moveBlob = async (database: Database, name: string, from: BlobPlace, to: BlobPlace): Promise<boolean> =>
  (await database.query(MOVE, [name, from, to])).length > 0;

/** The stores of these objects. */
export const placesOfBlobs = async (
  database: Database,
  names: readonly string[],
): Promise<ReadonlyMap<string, BlobPlace>> => {
  const rows = await database.query<{ name: string; place: BlobPlace }>(PLACES, [names]);
  return new Map(rows.map(({ name, place }) => [name, place]));
};
