import { isJsonObject } from '#src/protocol/json/json-value.ts';

export const MEMBERSHIPS = ['join', 'invite', 'knock', 'leave', 'ban'] as const;
export type Membership = (typeof MEMBERSHIPS)[number];

/** How a membership is stored: 1 to 5, in the order above. */
export const membershipCode = (membership: Membership): number => MEMBERSHIPS.indexOf(membership) + 1;

export const membershipOfCode = (code: number): Membership => MEMBERSHIPS[code - 1] ?? 'leave';

/** The membership that an `m.room.member` says; `leave` for anything that is none. */
export const membershipIn = (content: unknown): Membership => {
  const membership = isJsonObject(content) ? content['membership'] : undefined;
  return MEMBERSHIPS.find((known) => known === membership) ?? 'leave';
};

/** Whether a user is in a room or may join it by an invite. */
export const isInOrInvited = (membership: Membership | undefined): boolean =>
  membership === 'join' || membership === 'invite';

/** Whether a membership is pending: the user has yet to answer an invite, or the room's members a knock. */
export const isPending = (membership: Membership | undefined): membership is 'invite' | 'knock' =>
  membership === 'invite' || membership === 'knock';

/** One user's present membership of a room. */
export interface Member {
  readonly userId: string;
  readonly user: number;
  readonly membership: Membership;
  /** Position of the member event; 0 when there is none: the resolution of a fork left the user without a membership. */
  readonly event: number;
  /** Position at which this membership began: changes of name or avatar do not move it. */
  readonly since: number;
  readonly local: boolean;
  readonly forgotten: boolean;
}
