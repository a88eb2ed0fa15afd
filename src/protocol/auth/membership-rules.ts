import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { referencedIds } from '#src/protocol/events/pdu.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { creatorOf } from './create.ts';
import type { PowerLevels } from './power-levels.ts';
import { checkThirdPartyInvite } from './third-party-invite.ts';
import { ALLOW, reject } from './verdict.ts';
import type { AuthVerdict, StateAccess } from './verdict.ts';

/** A user's membership in a state; `leave` for who was never there. */
export function membershipOf(state: StateAccess, userId: string): string {
  const membership = state('m.room.member', userId)?.pdu.content['membership'];
  return typeof membership === 'string' ? membership : 'leave';
}

/** The join rule in a state; `invite` if there is none. */
function joinRuleOf(state: StateAccess): string {
  const event = state('m.room.join_rules', '');
  if (event === undefined) return 'invite';
  const { join_rule: joinRule } = event.pdu.content;
  // A rule that cannot be read lets nobody in, like every rule that is not known.
  return typeof joinRule === 'string' ? joinRule : 'private';
}

/** What the rules on membership look at; the power levels are read only where a rule needs them. */
interface MembershipChange {
  readonly version: RoomVersion;
  readonly pdu: Pdu;
  readonly create: IdentifiedPdu;
  readonly state: StateAccess;
  readonly levels: () => PowerLevels;
  readonly target: string;
}

/** The rules "If type is m.room.member". */
export function checkMembership(
  version: RoomVersion,
  { pdu }: IdentifiedPdu,
  create: IdentifiedPdu,
  state: StateAccess,
  levels: () => PowerLevels,
): AuthVerdict {
  const { membership, join_authorised_via_users_server: authorisingUser } = pdu.content;
  // "If there is no state_key property, or no membership property in content, reject." Since v1.
  if (pdu.state_key === undefined) return reject('m.room.member has no state_key');
  if (typeof membership !== 'string') return reject('m.room.member has no membership');
  // "If content has a join_authorised_via_users_server property: If the event is not validly signed by the homeserver of the
  // user ID denoted by the key, reject." Since v8. The signature itself is among `requiredSignatures`.
  if (version.auth.restrictedJoins && authorisingUser !== undefined && !isUserId(authorisingUser)) {
    return reject('join_authorised_via_users_server is not a user id');
  }
  const change: MembershipChange = { version, pdu, create, state, levels, target: pdu.state_key };
  switch (membership) {
    case 'join':
      return checkJoin(change);
    case 'invite':
      return checkInvite(change);
    case 'leave':
      return checkLeave(change);
    case 'ban':
      return checkBan(change);
    case 'knock':
      // "If membership is knock". Since v7.
      return version.auth.knocking ? checkKnock(change) : reject('this room version does not know knocking');
    default:
      // "Otherwise, the membership is unknown. Reject." Since v1.
      return reject('the membership is unknown');
  }
}

function checkJoin({ version, pdu, create, state, levels, target }: MembershipChange): AuthVerdict {
  // "If the only previous event is an m.room.create and the state_key is the creator, allow." Since v1; "... is the sender of the
  // m.room.create, allow" since v11.
  const [previous, ...others] = referencedIds(pdu.prev_events);
  if (previous === create.eventId && others.length === 0 && target === creatorOf(version, create.pdu)) return ALLOW;
  // "If the sender does not match state_key, reject." Since v1.
  if (pdu.sender !== target) return reject('a user can join only for themselves');
  const membership = membershipOf(state, target);
  // "If the sender is banned, reject." Since v1.
  if (membership === 'ban') return reject('the sender is banned');
  const isIn = membership === 'join' || membership === 'invite';
  const joinRule = joinRuleOf(state);
  switch (joinRule) {
    case 'public':
      // "If the join_rule is public, allow." Since v1.
      return ALLOW;
    case 'invite':
      // "If the join_rule is invite then allow if membership state is invite or join." Since v1.
      return isIn ? ALLOW : reject('the sender is not invited');
    case 'knock':
      // "If the join_rule is invite or knock then allow if membership state is invite or join." Since v7.
      return version.auth.knocking && isIn ? ALLOW : reject('the sender is not invited');
    case 'restricted':
    case 'knock_restricted': {
      // "If the join_rule is restricted". Since v8; "or knock_restricted" since v10.
      if (!(joinRule === 'restricted' ? version.auth.restrictedJoins : version.auth.knockRestricted)) break;
      // "If membership state is join or invite, allow."
      if (isIn) return ALLOW;
      // "If the join_authorised_via_users_server key in content is not a user with sufficient permission to invite other users
      // or is not a joined member of the room, reject. Otherwise, allow."
      const { join_authorised_via_users_server: authorisingUser } = pdu.content;
      if (typeof authorisingUser !== 'string') return reject('the join is not authorised by a member of the room');
      if (membershipOf(state, authorisingUser) !== 'join')
        return reject('the user who authorised the join is not in the room');
      const power = levels();
      return power.userLevel(authorisingUser) >= power.invite
        ? ALLOW
        : reject('the user who authorised the join may not invite');
    }
    default:
  }
  return reject(`the join rule ${joinRule} lets nobody in`);
}

function checkInvite({ version, pdu, state, levels, target }: MembershipChange): AuthVerdict {
  const targetMembership = membershipOf(state, target);
  // "If content has a third_party_invite property". Since v1.
  if (pdu.content['third_party_invite'] !== undefined)
    return checkThirdPartyInvite(version, pdu, targetMembership, state);
  // "If the sender's current membership state is not join, reject." Since v1.
  if (membershipOf(state, pdu.sender) !== 'join') return reject('the sender is not in the room');
  // "If target user's current membership state is join or ban, reject." Since v1.
  if (targetMembership === 'join') return reject('the target is in the room already');
  if (targetMembership === 'ban') return reject('the target is banned');
  // "If the sender's power level is greater than or equal to the invite level, allow. Otherwise, reject." Since v1.
  const power = levels();
  return power.userLevel(pdu.sender) >= power.invite
    ? ALLOW
    : reject("the sender's power level is below the invite level");
}

function checkLeave({ version, pdu, state, levels, target }: MembershipChange): AuthVerdict {
  const targetMembership = membershipOf(state, target);
  if (pdu.sender === target) {
    // "If the sender matches state_key, allow if and only if that user's current membership state is invite or join." Since v1;
    // "invite, join, or knock" since v7.
    const mayLeave =
      targetMembership === 'invite' ||
      targetMembership === 'join' ||
      (version.auth.knocking && targetMembership === 'knock');
    return mayLeave ? ALLOW : reject('the sender is neither in the room nor invited');
  }
  // "If the sender's current membership state is not join, reject." Since v1.
  if (membershipOf(state, pdu.sender) !== 'join') return reject('the sender is not in the room');
  const power = levels();
  const senderLevel = power.userLevel(pdu.sender);
  // "If the target user's current membership state is ban, and the sender's power level is less than the ban level, reject."
  if (targetMembership === 'ban' && senderLevel < power.ban)
    return reject("the sender's power level is below the ban level");
  // "If the sender's power level is greater than or equal to the kick level, and the target user's power level is less than the
  // sender's power level, allow. Otherwise, reject." Since v1.
  if (senderLevel < power.kick) return reject("the sender's power level is below the kick level");
  return power.userLevel(target) < senderLevel ? ALLOW : reject("the target's power level is not below the sender's");
}

function checkBan({ pdu, state, levels, target }: MembershipChange): AuthVerdict {
  // "If the sender's current membership state is not join, reject." Since v1.
  if (membershipOf(state, pdu.sender) !== 'join') return reject('the sender is not in the room');
  // "If the sender's power level is greater than or equal to the ban level, and the target user's power level is less than the
  // sender's power level, allow. Otherwise, reject." Since v1.
  const power = levels();
  const senderLevel = power.userLevel(pdu.sender);
  if (senderLevel < power.ban) return reject("the sender's power level is below the ban level");
  return power.userLevel(target) < senderLevel ? ALLOW : reject("the target's power level is not below the sender's");
}

function checkKnock({ version, pdu, state, target }: MembershipChange): AuthVerdict {
  const joinRule = joinRuleOf(state);
  // "If the join_rule is anything other than knock, reject." Since v7; "knock or knock_restricted" since v10.
  if (joinRule !== 'knock' && !(version.auth.knockRestricted && joinRule === 'knock_restricted')) {
    return reject('the join rule does not allow knocking');
  }
  // "If sender does not match state_key, reject." Since v7.
  if (pdu.sender !== target) return reject('a user can knock only for themselves');
  // "If the sender's current membership is not ban, invite, or join, allow. Otherwise, reject." Since v7.
  const membership = membershipOf(state, target);
  return membership !== 'ban' && membership !== 'invite' && membership !== 'join'
    ? ALLOW
    : reject(`the sender cannot knock with the membership ${membership}`);
}
