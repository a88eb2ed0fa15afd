import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import { checkAuthEventsSelection } from '#src/protocol/auth/auth-events.ts';
import { parsePowerLevels } from '#src/protocol/auth/power-levels.ts';
import { redactionApplies } from '#src/protocol/auth/redactions.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { type IdentifiedPdu, type Pdu, redactionTarget, referencedIds } from '#src/protocol/events/pdu.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { type StateMap, stateMapKey } from '#src/protocol/state/state-map.ts';

export type Verdict = 'accepted' | 'soft-failed' | 'rejected';

interface Replayed {
  readonly event: IdentifiedPdu;
  readonly verdict: Verdict;
  readonly before: StateMap<string>;
  readonly after: StateMap<string>;
}

const MAX_EXTREMITIES = 20;

/**
 * A room worked out from its events alone, one after another, by event ids and with the plain algorithm: what the store has to
 * come to with its deltas, positions and shortcuts.
 */
export class Replay {
  readonly events = new Map<string, Replayed>();
  readonly #version: RoomVersion;
  #create: IdentifiedPdu | undefined;
  extremities: string[] = [];
  current: StateMap<string> = new Map();

  constructor(version: RoomVersion) {
    this.#version = version;
  }

  /** The state after some events, resolved. */
  stateAfter(ids: readonly string[]): StateMap<string> {
    const states = ids.map((id) => this.events.get(id)!.after);
    return this.#resolve(states);
  }

  #resolve(states: readonly StateMap<string>[], more?: IdentifiedPdu): StateMap<string> {
    const find = (id: string): IdentifiedPdu | undefined => (more?.eventId === id ? more : this.events.get(id)?.event);
    return resolveState(this.#version, states, {
      create: this.#create?.eventId ?? '',
      event: find,
      authEvents: (id) => referencedIds(find(id)?.pdu.auth_events ?? []),
    });
  }

  #check(event: IdentifiedPdu, state: StateMap<string>): boolean {
    return checkAuth(this.#version, event, (type, stateKey) => {
      const id = state.get(stateMapKey(type, stateKey));
      return id === undefined ? undefined : this.events.get(id)?.event;
    }).ok;
  }

  #judge(event: IdentifiedPdu, before: StateMap<string>): Verdict {
    const named = referencedIds(event.pdu.auth_events).map((id) => this.events.get(id)!.event);
    if (!checkAuthEventsSelection(this.#version, event, named).ok) return 'rejected';
    const byAuthEvents = checkAuth(this.#version, event, (type, stateKey) => {
      const found = named.find(({ pdu }) => pdu.type === type && pdu.state_key === stateKey);
      return found ?? (type === 'm.room.create' && !this.#version.auth.createEventSelected ? this.#create : undefined);
    });
    if (!byAuthEvents.ok || !this.#check(event, before)) return 'rejected';
    return this.#check(event, this.current) && !this.#isHeldBack(event) ? 'accepted' : 'soft-failed';
  }

  /** Whether it is a redaction that would not be carried out. Those that are sent here are looked at before. */
  #isHeldBack(event: IdentifiedPdu): boolean {
    const isLocal = event.pdu.signatures[domainOf(this.#create?.pdu.sender ?? '') ?? ''] !== undefined;
    if (event.pdu.type !== 'm.room.redaction' || this.#version.auth.redactionsAuthorised || isLocal) return false;
    const target = this.events.get(redactionTarget(this.#version, event.pdu) ?? '')?.event;
    const levels = this.events.get(this.current.get(stateMapKey('m.room.power_levels', '')) ?? '')?.event;
    if (target === undefined || this.#create === undefined) return true;
    const parsed = parsePowerLevels(this.#version, levels?.pdu.content, this.#create.pdu);
    return !redactionApplies(this.#version, event, target, parsed);
  }

  /** Takes in the next event; all that it names must be here. */
  take(eventId: string, pdu: Pdu): Replayed {
    const prev = referencedIds(pdu.prev_events);
    const before = this.stateAfter(prev);
    if (pdu.type === 'm.room.create') this.#create = { eventId, pdu };
    const verdict = pdu.type === 'm.room.create' ? 'accepted' : this.#judge({ eventId, pdu }, before);
    const event: IdentifiedPdu = { eventId, pdu, rejected: verdict === 'rejected' };
    const after =
      pdu.state_key === undefined || verdict === 'rejected'
        ? before
        : new Map([...before, [stateMapKey(pdu.type, pdu.state_key), eventId]]);
    const replayed = { event, verdict, before, after };
    this.events.set(eventId, replayed);
    if (verdict === 'accepted') {
      const gone = this.#behind(prev);
      const others = this.extremities.filter((id) => !gone.has(id));
      if (others.length < MAX_EXTREMITIES) {
        this.extremities = [...others, eventId];
        this.current = this.stateAfter(this.extremities);
      }
    }
    return replayed;
  }

  /** Events, and what lies before those of them that nobody is shown. */
  #behind(ids: readonly string[]): Set<string> {
    const gone = new Set(ids);
    for (const id of gone) {
      const { event, verdict } = this.events.get(id)!;
      if (verdict !== 'accepted') for (const earlier of referencedIds(event.pdu.prev_events)) gone.add(earlier);
    }
    return gone;
  }
}
