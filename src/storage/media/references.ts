import type { Database, Tx } from '../database.ts';
import { sql } from '../statement.ts';

/** An event that names a piece of this server's media. */
export interface MediaReference {
  readonly room: number;
  readonly event: number;
  readonly mediaId: string;
  readonly isState: boolean;
}

// What was purged or redacted meanwhile names nothing; what is being deleted is not waited for.
const INSERT = sql(
  'media_reference_insert',
  `insert into media_references (room, event, media, is_state)
   select e.room, e.nid, m.nid, u.is_state
   from unnest($1::int[], $2::bigint[], $3::text[], $4::boolean[]) u(room, event, media_id, is_state)
   join events e on e.room = u.room and e.nid = u.event and e.redacted_by is null
   join media m on m.origin = '' and m.media_id = u.media_id
   for key share of e, m
   on conflict do nothing`,
);
// Only the uploader's events release a piece of media: another user who learns its name (of an encrypted message, say) could have it deleted by naming it
// and taking that back. A picture of a preview is nobody's.
const RELEASED = `update media m set released_ts = $2 from gone g join users u on u.nid = g.sender
  where m.nid = g.media and m.user_id in ('', u.user_id)`;
const OF_REDACTED = sql(
  'media_reference_redacted',
  `with gone as (
     delete from media_references r using events e
     where e.event_id = any($1::bytea[]) and e.redacted_by is not null and r.room = e.room and r.event = e.nid returning r.media, e.sender
   ) ${RELEASED}`,
);
const OF_EVENTS = sql(
  'media_reference_events',
  `with gone as (
     delete from media_references r using unnest($1::bigint[], $4::int[]) e(nid, sender)
     where r.room = $3 and r.event = e.nid returning r.media, e.sender
   ) ${RELEASED}`,
);
const OF_ROOM = sql(
  'media_reference_room',
  `with gone as (
     delete from media_references r using (
       select r.event, r.media, e.sender from media_references r join events e on e.room = r.room and e.nid = r.event
       where r.room = $1 order by r.event limit $3
     ) e where r.room = $1 and r.event = e.event and r.media = e.media returning r.media, e.sender
   ), released as (${RELEASED}) select count(*)::int as count from gone`,
);
const OF_SENDER = sql(
  'media_reference_sender',
  `delete from media_references r using media m, events e
   where m.nid = any($1::bigint[]) and r.media = m.nid and e.room = r.room and e.nid = r.event and e.sender = $2`,
);
const RELEASE = sql('media_release', 'update media set released_ts = $2 where nid = any($1::bigint[])');
const RELEASE_NAMED = sql(
  'media_release_named',
  `update media set released_ts = $2 where origin = '' and media_id = any($1::text[]) and user_id in ('', $3)`,
);
/** Why a piece of media stays: something names it. `uris` are without their scheme. */
const NAMED = sql(
  'media_named',
  `select u.nid from unnest($1::bigint[], $2::text[]) u(nid, uri)
   where exists (select 1 from media_references r where r.media = u.nid)
     or exists (select 1 from profiles p where p.value like '%mxc://%' and media_named_in(p.value) @> array[u.uri])
     or exists (select 1 from account_data a where a.content like '%mxc://%' and media_named_in(a.content) @> array[u.uri])`,
);
/** The same without the messages: those of a room's history go with their time, what shows people and rooms stays. */
const SHOWN = sql(
  'media_shown',
  `select u.nid from unnest($1::bigint[], $2::text[]) u(nid, uri)
   where exists (select 1 from media_references r where r.media = u.nid and r.is_state)
     or exists (select 1 from profiles p where p.value like '%mxc://%' and media_named_in(p.value) @> array[u.uri])
     or exists (select 1 from account_data a where a.content like '%mxc://%' and media_named_in(a.content) @> array[u.uri])`,
);
/** What events of a room name, a part of the room at once, in clear text. */
const IN_ROOM = sql(
  'media_in_room',
  `with part as materialized (
     select e.nid, e.json from events e where e.room = $1 and e.nid > $2 order by e.nid limit $3
   )
   select (select max(nid) from part) as last, (select count(*)::int from part) as seen,
     coalesce((select array_agg(distinct u.uri) from part p, unnest(media_named_in(p.json)) u(uri) where p.json like '%mxc://%'), '{}') as uris`,
);
const EVENTS = sql(
  'media_events',
  'select r.room, r.event from media_references r where r.media = $1 order by r.event desc limit $2',
);
const PROFILES = sql(
  'media_profiles',
  `select distinct user_id as "userId" from profiles where value like '%mxc://%' and media_named_in(value) @> array[$1::text] limit $2`,
);
const ACCOUNT_DATA = sql(
  'media_account_data',
  `select u.user_id as "userId", a.type from account_data a join users u on u.nid = a.user_nid
   where a.content like '%mxc://%' and media_named_in(a.content) @> array[$1::text] limit $2`,
);

/** Notes which events name which media. */
export const insertReferences = async (database: Database, references: readonly MediaReference[]): Promise<void> => {
  if (references.length === 0) return;
  await database.query(INSERT, [
    references.map(({ room }) => room),
    references.map(({ event }) => event),
    references.map(({ mediaId }) => mediaId),
    references.map(({ isState }) => isState),
  ]);
};

/** Events that were redacted name nothing any more. */
export const releaseRedacted = async (database: Database, eventIds: readonly Buffer[], now: number): Promise<void> => {
  if (eventIds.length > 0) await database.query(OF_REDACTED, [eventIds, now]);
};

/** Events of a room that are purged name nothing any more. */
export const releaseEvents = async (
  tx: Tx,
  room: number,
  events: readonly { readonly nid: number; readonly sender: number }[],
  now: number,
): Promise<void> => {
  if (events.length === 0) return;
  await tx.query(OF_EVENTS, [events.map(({ nid }) => nid), now, room, events.map(({ sender }) => sender)]);
};

/** What a room's events name is named by them no longer, `limit` names at once, while the events are there. Returns how many there were. */
export const releaseRoom = async (database: Database, room: number, now: number, limit: number): Promise<number> =>
  (await database.query<{ count: number }>(OF_ROOM, [room, now, limit]))[0]?.count ?? 0;

/** Media are named by the events of one sender no longer. @param sender the sender's number */
export const forgetReferencesOf = async (tx: Tx, media: readonly number[], sender: number): Promise<void> => {
  if (media.length > 0) await tx.query(OF_SENDER, [media, sender]);
};

/** Marks media as released: they are deleted unless something references them. */
export const releaseMedia = async (tx: Database | Tx, media: readonly number[], now: number): Promise<void> => {
  if (media.length > 0) await tx.query(RELEASE, [media, now]);
};

/** The same for media of this server by their ids: those that a user uploaded who names them no longer. */
export const releaseNamed = async (
  tx: Database | Tx,
  mediaIds: readonly string[],
  userId: string,
  now: number,
): Promise<void> => {
  if (mediaIds.length > 0) await tx.query(RELEASE_NAMED, [mediaIds, now, userId]);
};

/** Media that were released are named by something, and count as released later. @param ts milliseconds since the epoch */
export const postponeRelease = (tx: Tx, media: readonly number[], ts: number): Promise<void> =>
  releaseMedia(tx, media, ts);

/** A piece of media, and its URI without the scheme. */
export interface NamedMedia {
  readonly nid: number;
  readonly uri: string;
}

const among = async (
  reader: Database | Tx,
  statement: typeof NAMED,
  media: readonly NamedMedia[],
): Promise<ReadonlySet<number>> => {
  if (media.length === 0) return new Set();
  const values = [media.map(({ nid }) => nid), media.map(({ uri }) => uri)];
  return new Set((await reader.query<{ nid: number }>(statement, values)).map(({ nid }) => nid));
};

/** Those of these media that an event, a profile or account data name. */
export const namedMedia = (reader: Database | Tx, media: readonly NamedMedia[]): Promise<ReadonlySet<number>> =>
  among(reader, NAMED, media);

/** Those of these media that state of a room, a profile or account data name. */
export const shownMedia = (reader: Database | Tx, media: readonly NamedMedia[]): Promise<ReadonlySet<number>> =>
  among(reader, SHOWN, media);

/** What a part of a room's events names. */
export interface NamedInRoom {
  /** The number of the last event that was looked at; null when there was none. */
  readonly last: number | null;
  /** How many events were looked at. */
  readonly seen: number;
  /** `server/id`, each once. */
  readonly uris: readonly string[];
}

/** What the events of a room after one name, of whichever server, `limit` events at once. */
export const mediaNamedInRoom = async (
  reader: Database | Tx,
  room: number,
  after: number,
  limit: number,
): Promise<NamedInRoom> =>
  (await reader.query<NamedInRoom>(IN_ROOM, [room, after, limit]))[0] ?? { last: null, seen: 0, uris: [] };

/** What names a piece of media, `limit` of each kind, the newest events first. */
export const referencesTo = async (
  database: Database,
  { nid, uri }: NamedMedia,
  limit: number,
): Promise<{
  readonly events: { readonly room: number; readonly event: number }[];
  readonly profiles: string[];
  readonly accountData: { readonly userId: string; readonly type: string }[];
}> => ({
  events: await database.query(EVENTS, [nid, limit]),
  profiles: (await database.query<{ userId: string }>(PROFILES, [uri, limit])).map(({ userId }) => userId),
  accountData: await database.query(ACCOUNT_DATA, [uri, limit]),
});
