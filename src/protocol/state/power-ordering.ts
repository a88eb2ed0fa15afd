import { parsePowerLevels } from '#src/protocol/auth/power-levels.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { compareEventIds } from './event-order.ts';
import { authEventOfType } from './state-map.ts';
import type { EventName, StateResolutionAccess } from './state-map.ts';

/**
 * "A power event is a state event with type m.room.power_levels or m.room.join_rules, or a state event with type m.room.member
 * where the membership is leave or ban and the sender does not match the state_key."
 *
 * Other servers count m.room.create in as well, and only the empty state key for all three; so must we, to agree with them.
 */
export function isPowerEvent({ type, state_key: stateKey, sender, content }: Pdu): boolean {
  switch (type) {
    case 'm.room.power_levels':
    case 'm.room.join_rules':
    case 'm.room.create':
      return stateKey === '';
    case 'm.room.member': {
      const { membership } = content;
      return (membership === 'leave' || membership === 'ban') && sender !== stateKey;
    }
    default:
      return false;
  }
}

/**
 * "Select the set X of all power events that appear in the full conflicted set. For each such power event P, enlarge X by adding
 * the events in the auth chain of P which also belong to the full conflicted set."
 *
 * The auth chain is followed within the full conflicted set, as other servers do it. (It makes a difference in v2 alone: since
 * v2.1 the conflicted state subgraph closes the gaps.)
 */
export function selectPowerEvents<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  fullConflictedSet: ReadonlySet<Id>,
): Set<Id> {
  const selected = new Set<Id>();
  for (const id of fullConflictedSet) {
    const event = access.event(id);
    if (event !== undefined && isPowerEvent(event.pdu)) selected.add(id);
  }
  for (const id of selected) {
    for (const authId of access.authEvents(id)) if (fullConflictedSet.has(authId)) selected.add(authId);
  }
  return selected;
}

/** The power level of an event's sender, "when looking at their respective auth_events"; Infinity for creators since v12. */
function senderPowerLevel<Id extends EventName>(
  version: RoomVersion,
  access: StateResolutionAccess<Id>,
  id: Id,
): number {
  const pdu = access.event(id)?.pdu;
  const createId = authEventOfType(access, id, 'm.room.create');
  const create = createId === undefined ? undefined : access.event(createId)?.pdu;
  // Only m.room.create itself cites none, and it comes before everything else at any rate.
  if (pdu === undefined || create === undefined) return 0;
  const levelsId = authEventOfType(access, id, 'm.room.power_levels');
  const levels = levelsId === undefined ? undefined : access.event(levelsId);
  return parsePowerLevels(version, levels?.pdu.content, create).userLevel(pdu.sender);
}

/** What the reverse topological power ordering compares. */
interface PowerVertex<Id extends EventName> {
  readonly id: Id;
  readonly eventId: string;
  readonly powerLevel: number;
  readonly originServerTs: number;
  /** How many of its auth events are still to be placed. */
  waitingFor: number;
}

function comparePowerVertices(x: PowerVertex<EventName>, y: PowerVertex<EventName>): number {
  // "x's sender has greater power level than y's sender, when looking at their respective auth_events; or"
  if (x.powerLevel !== y.powerLevel) return x.powerLevel > y.powerLevel ? -1 : 1;
  // "the senders have the same power level, but x's origin_server_ts is less than y's origin_server_ts; or"
  if (x.originServerTs !== y.originServerTs) return x.originServerTs - y.originServerTs;
  // "the senders have the same power level and the events have the same origin_server_ts, but x's event_id is less than y's".
  return compareEventIds(x.eventId, y.eventId);
}

/**
 * "The lexicographically smallest topological ordering based on the DAG formed by auth events ... can be found by sorting the
 * events using Kahn's algorithm for topological sorting, and at each step selecting, among all the candidate vertices, the
 * smallest vertex using the above comparison relation." From earliest to latest.
 */
export function reverseTopologicalPowerOrdering<Id extends EventName>(
  version: RoomVersion,
  access: StateResolutionAccess<Id>,
  ids: ReadonlySet<Id>,
): Id[] {
  const vertices = new Map<Id, PowerVertex<Id>>();
  const citedBy = new Map<Id, Id[]>();
  for (const id of ids) {
    const event = access.event(id);
    if (event === undefined) continue;
    const cited = new Set(access.authEvents(id).filter((authId) => ids.has(authId)));
    for (const authId of cited) {
      const citing = citedBy.get(authId);
      if (citing === undefined) citedBy.set(authId, [id]);
      else citing.push(id);
    }
    vertices.set(id, {
      id,
      eventId: event.eventId,
      powerLevel: senderPowerLevel(version, access, id),
      originServerTs: event.pdu.origin_server_ts,
      waitingFor: cited.size,
    });
  }
  const ordering: Id[] = [];
  const candidates = [...vertices.values()].filter(({ waitingFor }) => waitingFor === 0);
  while (candidates.length > 0) {
    const smallest = candidates.reduce((best, vertex) => (comparePowerVertices(vertex, best) < 0 ? vertex : best));
    candidates.splice(candidates.indexOf(smallest), 1);
    ordering.push(smallest.id);
    for (const id of citedBy.get(smallest.id) ?? []) {
      const citing = vertices.get(id);
      if (citing !== undefined && --citing.waitingFor === 0) candidates.push(citing);
    }
  }
  return ordering;
}
