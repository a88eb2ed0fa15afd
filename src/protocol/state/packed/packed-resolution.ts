import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { keyOfEvent, stateMapKey } from '../state-map.ts';
import type { EventName, StateMap, StateResolutionAccess } from '../state-map.ts';
import { Numbering } from './auth-graph.ts';
import type { AuthGraph } from './auth-graph.ts';

/**
 * What v2 and v2.1 decide about, as numbers: nothing but plain values and typed arrays, so that it can be handed to another
 * thread. Only events that take part are in it, however large the room is.
 */
export interface PackedResolution {
  /** Id of the room version. */
  readonly roomVersion: string;
  /** The events by number. The full conflicted set is the first `fullCount`; the others are what their verdicts hang on. */
  readonly events: readonly IdentifiedPdu[];
  readonly fullCount: number;
  /** The auth events of each, as far as they are known, in the order in which they are named. */
  readonly authEvents: AuthGraph;
  /** The entry that each event sets, as an index into `keyNames`. */
  readonly keys: Int32Array;
  readonly keyNames: readonly string[];
  /** The state to start from: entry -> event, -1 for none. */
  readonly initial: Int32Array;
}

/** A packed resolution with the caller's names for its events. */
export interface Packing<Id extends EventName> {
  readonly packed: PackedResolution;
  readonly ids: readonly Id[];
}

const POWER_LEVELS = stateMapKey('m.room.power_levels', '');

/**
 * Packs a resolution.
 *
 * @param access with the create event among the auth events (see `withImpliedCreate`)
 * @param full the full conflicted set
 * @param initial the state to start from: the unconflicted one; undefined for an empty one, as since v2.1
 */
export function packResolution<Id extends EventName>(
  version: RoomVersion,
  access: StateResolutionAccess<Id>,
  full: Iterable<Id>,
  initial: StateMap<Id> | undefined,
): Packing<Id> {
  const events: IdentifiedPdu[] = [];
  const numbering = new Numbering<Id>();
  const keyNumbering = new Numbering<string>();
  const keys: number[] = [];
  const powerLevelsKey = keyNumbering.add(POWER_LEVELS);
  /** The number of an event; undefined if it is not known. */
  const take = (id: Id): number | undefined => {
    const known = numbering.get(id);
    if (known !== undefined) return known;
    const event = access.event(id);
    if (event === undefined) return undefined;
    events.push(event);
    keys.push(keyNumbering.add(keyOfEvent(event)));
    return numbering.add(id);
  };

  for (const id of full) take(id);
  const fullCount = events.length;

  const starting: [key: number, event: number][] = [];
  if (initial !== undefined) {
    for (const key of keysAskedFor(version, events)) {
      const id = initial.get(key);
      const event = id === undefined ? undefined : take(id);
      if (event !== undefined) starting.push([keyNumbering.add(key), event]);
    }
  }

  const offsets: number[] = [0];
  const edges: number[] = [];
  // The list grows while it is walked.
  for (let number = 0; number < events.length; number++) {
    // Of what is not in the full conflicted set only the power levels are followed, for the mainline.
    if (number < fullCount || keys[number] === powerLevelsKey) {
      for (const authId of access.authEvents(numbering.ids[number] as Id)) {
        const authNumber = take(authId);
        if (authNumber !== undefined) edges.push(authNumber);
      }
    }
    offsets.push(edges.length);
  }
  const initialEvents = new Int32Array(keyNumbering.size).fill(-1);
  for (const [key, event] of starting) initialEvents[key] = event;
  return {
    ids: numbering.ids,
    packed: {
      roomVersion: version.id,
      events,
      fullCount,
      authEvents: { size: events.length, offsets: Int32Array.from(offsets), edges: Int32Array.from(edges) },
      keys: Int32Array.from(keys),
      keyNames: keyNumbering.ids,
      initial: initialEvents,
    },
  };
}

/** All entries that the authorization rules may ask for to judge events. */
function keysAskedFor(version: RoomVersion, events: readonly IdentifiedPdu[]): ReadonlySet<string> {
  // By type first: most of the answers are the same, and their keys need not be put together again and again.
  const byType = new Map([
    ['m.room.create', new Set([''])],
    ['m.room.power_levels', new Set([''])],
  ]);
  for (const { pdu } of events) {
    for (const [type, stateKey] of authEventKeysFor(version, pdu)) {
      const stateKeys = byType.get(type);
      if (stateKeys === undefined) byType.set(type, new Set([stateKey]));
      else stateKeys.add(stateKey);
    }
  }
  const keys = new Set<string>();
  for (const [type, stateKeys] of byType) for (const stateKey of stateKeys) keys.add(stateMapKey(type, stateKey));
  return keys;
}
