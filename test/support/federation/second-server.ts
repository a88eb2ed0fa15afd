import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { sql } from '#src/storage/statement.ts';
import type { EventServices } from '#test/support/event-services.ts';

/** An event as another server has it, with what that server thought of it. */
export interface KnownEvent {
  readonly event: IdentifiedPdu;
  readonly flags: number;
}

/** All events of a room that are not outliers, in the order in which they came. */
export async function eventsOf(services: EventServices, room: Room): Promise<KnownEvent[]> {
  const rows = await services.database.query<{ event_id: Buffer; json: string; flags: number }>(
    sql(
      'test_events_of_room',
      'select event_id, json, flags from events where room = $1 and flags & 8 = 0 order by nid',
    ),
    [room.nid],
  );
  return rows.map(({ event_id: id, json, flags }) => ({
    event: { eventId: eventIdText(room.version, id), pdu: JSON.parse(json) },
    flags,
  }));
}

/** Makes a room known of which nothing is here yet: as a join does before it imports the state. */
export async function emptyRoom(services: EventServices, of: Room): Promise<Room> {
  const creator = await services.interner.ensure({ users: [of.stateEvent('m.room.create')!.sender] });
  await services.database.query(
    sql(
      'test_empty_room',
      `with r as (insert into rooms (room_id, version, shard, creator, created_ts) values ($1, $2, $3, $4, 0) returning nid)
       insert into room_tail (room, extremities, state, depth, last_pos) select nid, '{}', 0, 0, 0 from r`,
    ),
    [of.roomId, of.version.id, shardOfName(of.roomId), creator.user(of.stateEvent('m.room.create')!.sender)],
  );
  return (await services.rooms.heardOf(of.roomId))!;
}

/** Brings a room to another server as a join would: everything before `at` as outliers, and that event with the state before it. */
export async function joinAt(
  services: EventServices,
  receiver: EventReceiver,
  of: Room,
  events: readonly KnownEvent[],
  at: number,
): Promise<Room> {
  const room = await emptyRoom(services, of);
  const earlier = events.slice(0, at).map(({ event }) => event);
  const state = new Map(
    earlier
      .filter(({ pdu }) => pdu.state_key !== undefined)
      .map(({ eventId, pdu }) => [stateMapKey(pdu.type, pdu.state_key!), eventId]),
  );
  await receiver.storeOutliers(room, earlier);
  const joined = await receiver.receiveAt(room, events[at]!.event, [...state.values()]);
  if (joined.outcome !== 'accepted') throw new Error(`not joined: ${JSON.stringify(joined)}`);
  return room;
}

export interface RoomPortrait {
  /** By type and state key. */
  readonly state: Readonly<Record<string, string>>;
  readonly extremities: readonly string[];
  readonly members: Readonly<Record<string, string>>;
}

/** A room by event ids alone, for comparison between servers. */
export async function roomByIds(services: EventServices, room: Room): Promise<RoomPortrait> {
  const entries = [...room.stateChain.others(), ...room.stateChain.members()];
  const names = await services.interner.named({ stateKeys: entries.map(([skey]) => skey) });
  const events = await services.loader.load(entries.map(([, nid]) => ({ room, nid })));
  const state = entries.map(([skey, nid]): [string, string] => {
    const { type, stateKey } = names.stateKeyNames(skey);
    return [stateMapKey(type, stateKey), events.get(nid)!.eventId];
  });
  return {
    state: Object.fromEntries(state.sort(([a], [b]) => (a < b ? -1 : 1))),
    extremities: room.head.extremities.map(({ eventId }) => eventId).sort(),
    members: Object.fromEntries(
      [...room.members.values()].map(({ userId, membership }) => [userId, membership]).sort(),
    ),
  };
}
