import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';

const THREADED = EVENT_FLAGS.threaded;

/**
 * Joins to an event what it relates to, and what that relates to: "a maximum of 3 hops is recommended to cover indirect
 * relationships". What was redacted relates to nothing any more. Client-Server API, "Threaded read receipts".
 *
 * @param event alias of the event in the query; the joined ones are called by it and `1` and `2`
 */
export const joinRelated = (event: string): string => `
  left join events ${event}1 on ${event}.rel is not null and ${event}.flags & ${THREADED} = 0
    and ${event}1.room = ${event}.room and ${event}1.nid = ${event}.rel and ${event}1.redacted_by is null
  left join events ${event}2 on ${event}1.rel is not null and ${event}1.flags & ${THREADED} = 0
    and ${event}2.room = ${event}1.room and ${event}2.nid = ${event}1.rel and ${event}2.redacted_by is null`;

/** A column of the event that says in which thread this one is; null in the main timeline. */
export const ofThreaded = (event: string, column: 'rel' | 'json'): string =>
  `case when ${event}.flags & ${THREADED} <> 0 then ${event}.${column}
    when ${event}1.flags & ${THREADED} <> 0 then ${event}1.${column}
    when ${event}2.flags & ${THREADED} <> 0 then ${event}2.${column} end`;
