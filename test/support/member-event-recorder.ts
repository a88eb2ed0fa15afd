/**
 * Notes every member event that is built while tests run, and the operation in which it was: an endpoint, or a method of the WebSocket API, makes only
 * those that it declares (`memberEvents`), and so cannot be left out where they are tried as every kind of user. A root hook calls
 * `memberEventRecorder.assertAllDeclared()` after the last test.
 */

import { ENDPOINTS } from '#src/app/endpoints.ts';
import { operationName } from '#src/http/operation.ts';
import { currentWork } from '#src/kernel/event-loop/work.ts';
import { EventBuilder } from '#src/services/events/building/event-builder.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import { FederationMembership } from '#src/services/federation/joins/federation-membership.ts';
import { type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { MEMBER_EVENT_KINDS, type MemberEventKind } from '#src/services/rooms/membership/member-event-kinds.ts';
import { METHODS } from '#src/ws/methods.ts';

/** Jobs and other work that belongs to no request. The operation that has it done declares the change. */
const BACKGROUND: Readonly<Record<string, readonly MemberEventKind[]>> = {
  'job.accounts.finish_deactivation': ['leave'],
  'job.profiles.carry': ['profile'],
  'job.rooms.remove_guests': ['leave'],
  'job.third_party_invites.redeem': ['invite'],
  'job.federation.send_leave': ['leave'],
  'job.upgrades.finish': ['ban'],
  // Rooms are deleted, users erased, everybody told something.
  'job.admin.run_task': ['join', 'invite', 'leave', 'profile'],
  'delayed events': MEMBER_EVENT_KINDS,
};

interface Declared {
  readonly name: string;
  readonly memberEvents?: readonly MemberEventKind[] | undefined;
}

const DECLARED: ReadonlyMap<string, readonly MemberEventKind[]> = new Map(
  [
    ...ENDPOINTS.map((endpoint): Declared => ({ name: operationName(endpoint), memberEvents: endpoint.memberEvents })),
    ...[...METHODS.values()].map((one): Declared => ({
      name: `websocket.${one.name}`,
      memberEvents: one.memberEvents,
    })),
    ...Object.entries(BACKGROUND).map(([name, memberEvents]): Declared => ({ name, memberEvents })),
  ].map(({ name, memberEvents = [] }) => [name, memberEvents]),
);

/** What a member event does with a membership. @param before the membership that there is */
export const memberChangeOf = (
  { sender, stateKey, content }: Pick<EventDraft, 'sender' | 'stateKey' | 'content'>,
  before: Membership | undefined,
): MemberEventKind => {
  const membership = membershipIn(content);
  if (membership === 'leave' && stateKey !== sender) return before === 'ban' ? 'unban' : 'kick';
  return membership === 'join' && stateKey === sender && before === 'join' ? 'profile' : membership;
};

class MemberEventRecorder {
  /** Operation and change, of those that do not declare it. */
  readonly #undeclared = new Set<string>();
  #recorded = 0;

  get recorded(): number {
    return this.#recorded;
  }

  record(change: MemberEventKind): void {
    const name = currentWork()?.name;
    // What a test calls itself belongs to nothing.
    if (name === undefined) return;
    this.#recorded += 1;
    if (DECLARED.get(name)?.includes(change) !== true) this.#undeclared.add(`${name}: ${change}`);
  }

  /** @throws Error with what made member events without declaring it */
  assertAllDeclared(): void {
    if (this.#undeclared.size > 0)
      throw new Error(`made member events that memberEvents does not name: ${[...this.#undeclared].join(', ')}`);
  }
}

export const memberEventRecorder = new MemberEventRecorder();

const noted = (room: Room, drafts: readonly EventDraft[]): void => {
  const earlier = new Map<string, Membership>();
  for (const draft of drafts) {
    if (draft.type !== 'm.room.member' || draft.stateKey === undefined) continue;
    const before = earlier.get(draft.stateKey) ?? (room.headMembership(draft.stateKey) as Membership | undefined);
    memberEventRecorder.record(memberChangeOf(draft, before));
    earlier.set(draft.stateKey, membershipIn(draft.content));
  }
};

/** Has every member event recorded that a server in this process builds, or asks other servers for. */
export const recordMemberEvents = (): void => {
  const { build } = EventBuilder.prototype;
  EventBuilder.prototype.build = function (room, drafts, ...more) {
    noted(room, drafts);
    return build.call(this, room, drafts, ...more);
  };
  const { enter, leave, invite } = FederationMembership.prototype;
  Object.assign(FederationMembership.prototype, {
    enter(this: FederationMembership, ...asked: Parameters<typeof enter>) {
      memberEventRecorder.record(asked[0]);
      return enter.apply(this, asked);
    },
    leave(this: FederationMembership, ...asked: Parameters<typeof leave>) {
      memberEventRecorder.record('leave');
      return leave.apply(this, asked);
    },
    invite(this: FederationMembership, ...asked: Parameters<typeof invite>) {
      memberEventRecorder.record('invite');
      return invite.apply(this, asked);
    },
  });
};
