import { hash } from 'node:crypto';
import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import type { StateAccess } from '#src/protocol/auth/verdict.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { separateV1 } from './separate.ts';
import { stateMapKey } from './state-map.ts';
import type { EventName, StateMap, StateResolutionAccess } from './state-map.ts';

/** A conflicting event with what v1 sorts by. */
interface Candidate<Id extends EventName> {
  readonly id: Id;
  readonly event: IdentifiedPdu;
  readonly sha1: string;
}

/** The events that conflict over one key: "ascending depth then descending sha1(event_id)". */
interface Conflict<Id extends EventName> {
  readonly key: string;
  readonly candidates: readonly Candidate<Id>[];
}

/** The passes, in their order. Whatever belongs to none of them comes last. */
const PASSES: readonly ((event: IdentifiedPdu) => boolean)[] = [
  ({ pdu }) => pdu.type === 'm.room.power_levels' && pdu.state_key === '',
  ({ pdu }) => pdu.type === 'm.room.join_rules',
  ({ pdu }) => pdu.type === 'm.room.member',
];

/** State resolution v1. Room version 1, "State resolution". */
export function resolveV1<Id extends EventName>(
  version: RoomVersion,
  stateSets: readonly StateMap<Id>[],
  access: StateResolutionAccess<Id>,
): StateMap<Id> {
  const { unconflicted, conflicted } = separateV1(stateSets);
  if (conflicted.size === 0) return unconflicted;
  // "Start by setting R to the union of the states to be resolved, excluding any conflicting events."
  const resolved = new Map(unconflicted);
  let remaining: Conflict<Id>[] = [];
  for (const [key, ids] of conflicted) {
    const conflict = sortedConflict(access, key, ids);
    const [only, ...others] = conflict.candidates;
    // Where all but one event are unknown nothing is left to decide.
    if (only !== undefined && others.length === 0) resolved.set(key, only.id);
    else if (only !== undefined) remaining.push(conflict);
  }
  for (const belongs of PASSES) {
    const isOfPass = ({ candidates }: Conflict<Id>): boolean => candidates.some(({ event }) => belongs(event));
    // The conflicts of a pass do not see what the others of it come to, or else their order would matter.
    const results = remaining
      .filter(isOfPass)
      .map(({ key, candidates }) => [key, lastOfAllowedRun(version, access, resolved, key, candidates)] as const);
    for (const [key, id] of results) if (id !== undefined) resolved.set(key, id);
    remaining = remaining.filter((conflict) => !isOfPass(conflict));
  }
  const results = remaining.map(
    ({ key, candidates }) => [key, highestAllowed(version, access, resolved, candidates)] as const,
  );
  for (const [key, id] of results) if (id !== undefined) resolved.set(key, id);
  return resolved;
}

/** "Sort the list by ascending depth then descending sha1(event_id)." */
function sortedConflict<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  key: string,
  ids: ReadonlySet<Id>,
): Conflict<Id> {
  const candidates: Candidate<Id>[] = [];
  for (const id of ids) {
    const event = access.event(id);
    if (event !== undefined) candidates.push({ id, event, sha1: hash('sha1', event.eventId, 'hex') });
  }
  candidates.sort((x, y) => {
    if (x.event.pdu.depth !== y.event.pdu.depth) return x.event.pdu.depth - y.event.pdu.depth;
    return x.sha1 > y.sha1 ? -1 : 1;
  });
  return { key, candidates };
}

/**
 * "Add the first event in the list to R. For each subsequent event in the list, check that the event would be allowed by the
 * authorisation rules for a room in state R. If the event would be allowed, then update R with the event and continue with the next
 * event in the list. If it would not be allowed, stop".
 */
function lastOfAllowedRun<Id extends EventName>(
  version: RoomVersion,
  access: StateResolutionAccess<Id>,
  resolved: StateMap<Id>,
  key: string,
  candidates: readonly Candidate<Id>[],
): Id | undefined {
  const [first, ...others] = candidates;
  let current = first;
  for (const candidate of others) {
    const inForce = current;
    const state = stateOf(access, resolved, (asked) => (asked === key ? inForce?.event : undefined));
    if (!checkAuth(version, candidate.event, state).ok) break;
    current = candidate;
  }
  return current?.id;
}

/** "Just pick the event with the highest depth and lowest sha1(event_id) that passes authentication in R and add it to R." */
function highestAllowed<Id extends EventName>(
  version: RoomVersion,
  access: StateResolutionAccess<Id>,
  resolved: StateMap<Id>,
  candidates: readonly Candidate<Id>[],
): Id | undefined {
  const state = stateOf(access, resolved, () => undefined);
  const allowed = candidates.findLast(({ event }) => checkAuth(version, event, state).ok);
  // Where none passes, other servers keep the one they would have tried last.
  return (allowed ?? candidates[0])?.id;
}

function stateOf<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  resolved: StateMap<Id>,
  over: (key: string) => IdentifiedPdu | undefined,
): StateAccess {
  return (type, stateKey) => {
    const key = stateMapKey(type, stateKey);
    const id = resolved.get(key);
    return over(key) ?? (id === undefined ? undefined : access.event(id));
  };
}
