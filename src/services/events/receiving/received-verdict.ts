import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import { checkAuthEventsSelection } from '#src/protocol/auth/auth-events.ts';
import type { AuthVerdict } from '#src/protocol/auth/verdict.ts';
import { type IdentifiedPdu, referencedIds } from '#src/protocol/events/pdu.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { identified } from '#src/services/room-model/event/identified-event.ts';
import type { StateChange } from '#src/services/room-model/state/state-chain.ts';
import type { ReceivingTurn } from './receiving-turn.ts';
import type { StateBefore } from './received-state.ts';
import { checkAgainst } from '#src/services/events/resolution/state-check.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** The verdict on a remote event. */
export type Verdict =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'soft-failed' | 'rejected'; readonly reason: string };

/**
 * "If there are entries whose `room_id` does not match that of the event being authorised, reject."
 *
 * @returns undefined where all that an event names as its auth events may be of its room
 */
export const foreignAuth = (
  turn: Pick<ReceivingTurn, 'place' | 'isInOtherRoom'>,
  { pdu }: IdentifiedPdu,
): { readonly kind: 'rejected'; readonly ok: false; readonly reason: string } | undefined => {
  const id = referencedIds(pdu.auth_events).find((one) => turn.place(one) === undefined && turn.isInOtherRoom(one));
  return id === undefined
    ? undefined
    : { kind: 'rejected', ok: false, reason: `its auth event ${id} is in another room` };
};

/**
 * "Passes authorization rules based on the event's auth events, otherwise it is rejected", "based on the state before the event,
 * otherwise it is rejected", "based on the current state of the room, otherwise it is 'soft failed'".
 *
 * @param create the room's `m.room.create`, if it is here
 * @param claimed memberships by the event's own auth events, where they are not known: in a room with partial state
 */
export const judgeReceived = async (
  options: Parameters<typeof checkAgainst>[0],
  room: Room,
  incoming: IdentifiedPdu,
  auth: readonly StoredEvent[],
  before: StateBefore,
  create: StoredEvent | undefined,
  claimed: readonly StateChange[] = [],
): Promise<Verdict> => {
  // Before it is nothing, so there is no m.room.create that would allow it; and the room's own is here already.
  if (incoming.pdu.prev_events.length === 0) return { kind: 'rejected', reason: 'it comes after no other event' };
  const inItsPlace = await judgePast(options, room, incoming, auth, before, create);
  if (!inItsPlace.ok) return { kind: 'rejected', reason: inItsPlace.reason };
  // The first event of a room that is joined: its state begins with what was told.
  if (room.head.extremities.length === 0) return { kind: 'accepted' };
  const believed = new Map(claimed.map(({ skey, event }) => [skey, event]));
  const current = (skey: number): number | undefined => room.head.chain.get(skey) ?? believed.get(skey);
  const byCurrentState = await checkAgainst(options, room, incoming, current);
  return byCurrentState.ok ? { kind: 'accepted' } : { kind: 'soft-failed', reason: byCurrentState.reason };
};

/** The same without a look at the room's current state: for what came long before it. */
export const judgePast = async (
  options: Parameters<typeof checkAgainst>[0],
  room: Room,
  incoming: IdentifiedPdu,
  auth: readonly StoredEvent[],
  before: StateBefore,
  create: StoredEvent | undefined,
): Promise<AuthVerdict> => {
  const { version } = room;
  const selection = checkAuthEventsSelection(version, incoming, auth.map(identified));
  if (!selection.ok) return selection;
  const byAuthEvents = checkAuth(version, incoming, (type, stateKey) => {
    const named = auth.find((event) => event.type === type && event.stateKey === stateKey);
    // Since v12 the room's id stands for its m.room.create.
    const implied = type === 'm.room.create' && !version.auth.createEventSelected ? create : undefined;
    const found = named ?? implied;
    return found === undefined ? undefined : identified(found);
  });
  return byAuthEvents.ok ? checkAgainst(options, room, incoming, before.get) : byAuthEvents;
};
