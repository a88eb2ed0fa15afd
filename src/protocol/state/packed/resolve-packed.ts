import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import { parsePowerLevels } from '#src/protocol/auth/power-levels.ts';
import type { PowerLevels } from '#src/protocol/auth/power-levels.ts';
import type { StateAccess } from '#src/protocol/auth/verdict.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { stateMapKey } from '../state-map.ts';
import { packedMainlineOrdering, packedPowerEvents, packedPowerOrdering, timeRanks } from './packed-orderings.ts';
import type { PackedResolution } from './packed-resolution.ts';

/**
 * Resolves what `packResolution` packed: steps 1 to 4 of the algorithm.
 *
 * @returns entry -> number of the event, -1 for none
 * @throws TypeError if the room version is not known
 */
export function resolvePacked(packed: PackedResolution): Int32Array {
  const version = roomVersion(packed.roomVersion);
  if (version === undefined) throw new TypeError(`There is no room version ${packed.roomVersion}.`);
  const judge = new PackedJudge(version, packed);
  const ranks = timeRanks(packed);
  const selected = packedPowerEvents(packed);
  judge.apply(packedPowerOrdering(packed, selected, ranks, (number) => judge.senderLevel(number)));
  judge.apply(packedMainlineOrdering(packed, selected, ranks, judge.powerLevelsInForce, judge.powerLevelsOf));
  return judge.state;
}

/** The iterative auth checks, with every event of power levels read once. */
class PackedJudge {
  /** Entry -> event, -1 for none. */
  readonly state: Int32Array;
  /** The `m.room.power_levels` among the auth events of each event, or -1. */
  readonly powerLevelsOf: Int32Array;
  readonly #version: RoomVersion;
  readonly #packed: PackedResolution;
  readonly #keyNumbers: ReadonlyMap<string, number>;
  readonly #emptyKeyNumbers = new Map<string, number>();
  readonly #createKey: number;
  readonly #powerLevelsKey: number;
  readonly #parsed = new Map<number, PowerLevels>();

  constructor(version: RoomVersion, packed: PackedResolution) {
    this.#version = version;
    this.#packed = packed;
    this.#keyNumbers = new Map(packed.keyNames.map((name, number) => [name, number]));
    this.#createKey = this.#keyNumbers.get(stateMapKey('m.room.create', '')) ?? -1;
    this.#powerLevelsKey = this.#keyNumbers.get(stateMapKey('m.room.power_levels', '')) ?? -1;
    this.state = packed.initial.slice();
    this.powerLevelsOf = packed.keys.map((_, number) => this.#authEvent(number, this.#powerLevelsKey, true));
  }

  get powerLevelsInForce(): number {
    return this.#powerLevelsKey < 0 ? -1 : (this.state[this.#powerLevelsKey] ?? -1);
  }

  /** The power level of an event's sender by the event's own auth events. */
  senderLevel(number: number): number {
    const create = this.#authEvent(number, this.#createKey, true);
    const sender = this.#packed.events[number]?.pdu.sender;
    if (sender === undefined) return 0;
    return this.#levels(create, this.powerLevelsOf[number] ?? -1)?.userLevel(sender) ?? 0;
  }

  /** Applies to the state, one after another, the events that the authorization rules allow. */
  apply(ordering: Int32Array): void {
    const { events, keys } = this.#packed;
    for (const number of ordering) {
      const event = events[number];
      if (event === undefined) continue;
      const find = (key: number): number => {
        const current = key < 0 ? -1 : (this.state[key] ?? -1);
        return current >= 0 ? current : this.#authEvent(number, key, false);
      };
      const ownKey = keys[number] ?? -1;
      const state: StateAccess = (type, stateKey) => {
        // Mostly it is the entry of the event itself that is asked for, or one of a few without a state key.
        if (type === event.pdu.type && stateKey === event.pdu.state_key) return events[find(ownKey)];
        const key =
          stateKey === '' ? this.#emptyKeyNumber(type) : (this.#keyNumbers.get(stateMapKey(type, stateKey)) ?? -1);
        return key < 0 ? undefined : events[find(key)];
      };
      const levels = this.#levels(find(this.#createKey), find(this.#powerLevelsKey));
      if (checkAuth(this.#version, event, state, levels).ok) this.state[ownKey] = number;
    }
  }

  /** The entry `(type, '')`, or -1 if no event sets it. */
  #emptyKeyNumber(type: string): number {
    let key = this.#emptyKeyNumbers.get(type);
    if (key === undefined) {
      key = this.#keyNumbers.get(stateMapKey(type, '')) ?? -1;
      this.#emptyKeyNumbers.set(type, key);
    }
    return key;
  }

  /** The first auth event of an event that sets an entry, or -1. */
  #authEvent(number: number, key: number, rejectedToo: boolean): number {
    const { authEvents, keys, events } = this.#packed;
    const { offsets, edges } = authEvents;
    for (let edge = offsets[number] ?? 0, end = offsets[number + 1] ?? 0; edge < end; edge++) {
      const cited = edges[edge] ?? 0;
      if (keys[cited] === key && (rejectedToo || events[cited]?.rejected !== true)) return cited;
    }
    return -1;
  }

  /** The power levels that two events amount to; undefined without m.room.create. */
  #levels(create: number, powerLevels: number): PowerLevels | undefined {
    const { events } = this.#packed;
    const createEvent = events[create];
    if (createEvent === undefined) return undefined;
    const name = create * (events.length + 1) + powerLevels + 1;
    let levels = this.#parsed.get(name);
    if (levels === undefined) {
      levels = parsePowerLevels(this.#version, events[powerLevels]?.pdu.content, createEvent.pdu);
      this.#parsed.set(name, levels);
    }
    return levels;
  }
}
