import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import type { PersonalSections } from './personal-sections.ts';
import type { RoomPlan } from './room-plan.ts';
import type { StateReader } from './state-window.ts';

/** Changes of one membership that are looked through for an earlier stay. */
const MEMBERSHIPS_BACK = 20;

/** Whoever left and came back since then is told what happened in the meantime, and not once more what they know. */
export const resumedRooms = async (
  userId: string,
  plan: { readonly joined: readonly RoomPlan[]; readonly since: PositionVector },
  {
    loader,
    personal,
    states,
  }: {
    readonly loader: EventLoader;
    readonly personal: Pick<PersonalSections, 'wasJoined'>;
    readonly states: StateReader;
  },
): Promise<readonly RoomPlan[]> => {
  const returned: RoomPlan[] = [];
  for (const one of plan.joined) {
    if (one.after > 0) continue;
    const join = await loader.one(one.room, one.member.since);
    if (join?.replaces !== undefined) returned.push(one);
  }
  if (returned.length === 0) return plan.joined;
  const afterOf = (one: RoomPlan): number => plan.since[one.room.shard] ?? 0;
  const known = await states.statesAt(returned.map((one) => ({ room: one.room.nid, upTo: afterOf(one) })));
  const resumed = new Set<RoomPlan>();
  for (const one of returned) {
    if (await personal.wasJoined(one.room, userId, known.get(one.room.nid))) resumed.add(one);
  }
  const stayed = new Set<RoomPlan>();
  for (const one of returned) if (!resumed.has(one) && (await stayedBefore(loader, one))) stayed.add(one);
  return plan.joined.map((one) => {
    if (resumed.has(one)) return { ...one, after: afterOf(one) };
    return stayed.has(one) ? { ...one, isReturned: true } : one;
  });
};

/** Whether the user had been joined before they came back: going back through their memberships, which are few. */
const stayedBefore = async (loader: EventLoader, { member, room }: RoomPlan): Promise<boolean> => {
  // Where branches were resolved, a membership may begin at an event that is not about the user.
  const first = await loader.one(room, member.since);
  let event = first?.stateKey === member.userId ? first : await loader.one(room, member.event);
  for (let step = 0; step < MEMBERSHIPS_BACK && event?.replaces !== undefined; step++) {
    event = await loader.one(room, event.replaces);
    if (event !== undefined && membershipIn(event.content) === 'join') return true;
  }
  return false;
};
