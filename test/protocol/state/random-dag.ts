import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { keyOfEvent, stateMapKey } from '#src/protocol/state/state-map.ts';
import type { StateMap } from '#src/protocol/state/state-map.ts';
import { CREATOR, RoomDag } from './room-dag.ts';
import type { StateDraft } from './room-dag.ts';

/** Numbers that look random and depend on the seed alone. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer of 0 up to below `bound`. */
  below(bound: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T;
  }

  some<T>(items: readonly T[], count: number): T[] {
    const rest = [...items];
    const chosen: T[] = [];
    while (chosen.length < count && rest.length > 0) chosen.push(...rest.splice(this.below(rest.length), 1));
    return chosen;
  }
}

/** A room with forks, and states of it to resolve. */
export interface RandomDag {
  readonly room: RoomDag;
  readonly cases: readonly (readonly StateMap<string>[])[];
}

const ALICE = '@alice:a';
const BOB = '@bob:b';
const CAROL = '@carol:c';
const DAVE = '@dave:b';
const EVE = '@eve:c';
const USERS = [CREATOR, ALICE, BOB, CAROL, DAVE, EVE] as const;
const LEVELS = [0, 0, 10, 25, 50, 50, 75, 100] as const;

/**
 * Bans against changes of power, flips of the join rule, invites next to leaves and whatever else decides who may do what; on
 * several forks at once, with equal timestamps and false depths among them.
 */
export function randomDag(version: RoomVersion, seed: number): RandomDag {
  const dice = new Dice(seed);
  const additional = dice.chance(50) ? [dice.of([ALICE, BOB])] : [];
  const room = new RoomDag(version, version.auth.privilegedCreators ? { additional_creators: additional } : {});
  const creators = version.auth.privilegedCreators ? [CREATOR, ...additional] : [];
  let tips = [begin(room, dice, creators)];
  const all = [...tips];
  const merges: (readonly string[])[] = [];
  const length = 10 + dice.below(35);
  for (let sent = 0, tries = 0; sent < length && tries < length * 6; tries++) {
    const previous = dice.chance(15) ? [dice.of(all)] : dice.some(tips, dice.chance(30) ? 2 : 1);
    const id = room.send(randomDraft(room, dice, creators, room.stateAt(previous)), previous);
    if (id === undefined) continue;
    sent++;
    all.push(id);
    if (previous.length > 1) merges.push(previous);
    // A fork keeps its parent as a tip, so that more is sent on top of it.
    tips = [...tips.filter((tip) => !previous.includes(tip) || dice.chance(35)), id].slice(-5);
  }
  const states = (ids: readonly string[]): StateMap<string>[] => ids.map((id) => room.stateAfter(id));
  const cases = [states(tips), ...dice.some(merges, 2).map(states), states(dice.some(all, 2 + dice.below(3)))];
  cases.push(disturbed(room, dice, states(dice.some(all, 2 + dice.below(2)))));
  return { room, cases: cases.filter((sets) => sets.length > 1) };
}

function begin(room: RoomDag, dice: Dice, creators: readonly string[]): string {
  let tip = room.must(member(CREATOR, CREATOR, 'join'), [room.create.eventId]);
  if (dice.chance(85)) {
    const users: JsonObject = { [ALICE]: 100, [BOB]: dice.of(LEVELS), [CAROL]: dice.of(LEVELS), [CREATOR]: 100 };
    tip = room.must(powerLevels({ users: without(users, creators) }, CREATOR), [tip]);
  }
  if (dice.chance(85)) tip = room.must(joinRules(CREATOR, dice.chance(70) ? 'public' : 'invite'), [tip]);
  for (const user of dice.some(USERS.slice(1), 2 + dice.below(4))) {
    tip = room.send(member(CREATOR, user, 'invite'), [tip]) ?? tip;
    tip = room.send(member(user, user, 'join'), [tip]) ?? tip;
  }
  return tip;
}

function randomDraft(
  room: RoomDag,
  dice: Dice,
  creators: readonly string[],
  state: StateMap<string>,
): StateDraft & { readonly ts: number } {
  const timing = {
    ts: dice.chance(50) ? dice.below(4) : dice.below(200),
    ...(dice.chance(10) ? { depth: dice.below(60) } : {}),
  };
  const sender = dice.of(USERS);
  const target = dice.of(USERS);
  const draft = ((): StateDraft => {
    switch (dice.below(13)) {
      case 0:
      case 1:
        return member(sender, sender, 'join');
      case 2:
        return { ...member(sender, sender, 'join'), content: { membership: 'join', displayname: `${dice.below(3)}` } };
      case 3:
        return member(sender, sender, dice.chance(30) ? 'knock' : 'leave');
      case 4:
        return member(sender, target, 'invite');
      case 5:
      case 6:
        return member(sender, target, 'ban');
      case 7:
        return member(sender, target, 'leave');
      case 8:
      case 9:
        return powerLevels(changedLevels(room, dice, creators, state), sender);
      case 10:
        return joinRules(sender, dice.of(['public', 'invite', 'knock', 'restricted', 'knock_restricted', 'private']));
      case 11:
        return {
          ...member(sender, sender, 'join'),
          content: { membership: 'join', join_authorised_via_users_server: target },
        };
      default:
        return dice.chance(70)
          ? { type: dice.of(['m.room.topic', 'm.room.name']), sender, content: { topic: `${dice.below(1000)}` } }
          : {
              type: dice.of(['org.example.own', 'm.room.join_rules']),
              sender,
              stateKey: sender,
            };
    }
  })();
  return { ...draft, ...timing };
}

function changedLevels(room: RoomDag, dice: Dice, creators: readonly string[], state: StateMap<string>): JsonObject {
  const current = room.events.get(state.get(stateMapKey('m.room.power_levels', '')) ?? '')?.pdu.content ?? {};
  const users = { ...(current['users'] as JsonObject | undefined), [dice.of(USERS)]: dice.of(LEVELS) };
  const named = dice.chance(40)
    ? { [dice.of(['ban', 'kick', 'invite', 'state_default', 'users_default'])]: dice.of([0, 0, 25, 50, 75]) }
    : {};
  const events = dice.chance(20) ? { events: { 'm.room.topic': dice.of(LEVELS) } } : {};
  return { ...current, ...named, ...events, users: without(users, creators) };
}

/** States as no honest server would have them: entries are missing or stand where they stood long before. */
function disturbed(room: RoomDag, dice: Dice, stateSets: readonly StateMap<string>[]): StateMap<string>[] {
  const byKey = Map.groupBy(room.events.values(), keyOfEvent);
  return stateSets.map((stateSet) => {
    const changed = new Map(stateSet);
    for (const key of stateSet.keys()) {
      if (key.startsWith('m.room.create')) continue;
      if (dice.chance(8)) changed.delete(key);
      else if (dice.chance(20)) changed.set(key, dice.of(byKey.get(key) ?? []).eventId);
    }
    return changed;
  });
}

function without(users: JsonObject, creators: readonly string[]): JsonObject {
  return Object.fromEntries(Object.entries(users).filter(([user]) => !creators.includes(user)));
}

function member(sender: string, target: string, membership: string): StateDraft {
  return { type: 'm.room.member', sender, stateKey: target, content: { membership } };
}

function powerLevels(content: JsonObject, sender: string): StateDraft {
  return { type: 'm.room.power_levels', sender, content };
}

function joinRules(sender: string, joinRule: string): StateDraft {
  return { type: 'm.room.join_rules', sender, content: { join_rule: joinRule } };
}
