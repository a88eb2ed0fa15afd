/** The server-default push rules (Client-Server API v1.19, "Predefined Rules"). */

import type { PushAction, PushCondition, PushRule, PushRuleset } from './push-ruleset.ts';

/** The most important rule of all, even before those of the user; turns every notification off when enabled. */
export const MASTER_RULE_ID = '.m.rule.master';

const SOUND_DEFAULT: PushAction = { set_tweak: 'sound', value: 'default' };
const SOUND_RING: PushAction = { set_tweak: 'sound', value: 'ring' };
const HIGHLIGHT: PushAction = { set_tweak: 'highlight' };

const typeIs = (pattern: string): PushCondition => ({ kind: 'event_match', key: 'type', pattern });
const stateKeyIs = (pattern: string): PushCondition => ({ kind: 'event_match', key: 'state_key', pattern });
const twoMembers: PushCondition = { kind: 'room_member_count', is: '2' };

function rule(
  ruleId: string,
  conditions: readonly PushCondition[],
  actions: readonly PushAction[],
  enabled = true,
): PushRule {
  return { rule_id: ruleId, default: true, enabled, conditions, actions };
}

const MASTER = rule(MASTER_RULE_ID, [], [], false);

const SUPPRESS_NOTICES = rule(
  '.m.rule.suppress_notices',
  [{ kind: 'event_match', key: 'content.msgtype', pattern: 'm.notice' }],
  [],
);

const inviteForMe = (userId: string): PushRule =>
  rule(
    '.m.rule.invite_for_me',
    [
      typeIs('m.room.member'),
      { kind: 'event_match', key: 'content.membership', pattern: 'invite' },
      stateKeyIs(userId),
    ],
    ['notify', SOUND_DEFAULT],
  );

const MEMBER_EVENT = rule('.m.rule.member_event', [typeIs('m.room.member')], []);

const isUserMention = (userId: string): PushRule =>
  rule(
    '.m.rule.is_user_mention',
    [{ kind: 'event_property_contains', key: 'content.m\\.mentions.user_ids', value: userId }],
    ['notify', SOUND_DEFAULT, HIGHLIGHT],
  );

const OVERRIDES_AFTER_MENTION: readonly PushRule[] = [
  rule(
    '.m.rule.is_room_mention',
    [
      { kind: 'event_property_is', key: 'content.m\\.mentions.room', value: true },
      { kind: 'sender_notification_permission', key: 'room' },
    ],
    ['notify', HIGHLIGHT],
  ),
  rule('.m.rule.tombstone', [typeIs('m.room.tombstone'), stateKeyIs('')], ['notify', HIGHLIGHT]),
  rule('.m.rule.reaction', [typeIs('m.reaction')], []),
  rule('.m.rule.room.server_acl', [typeIs('m.room.server_acl'), stateKeyIs('')], []),
  rule(
    '.m.rule.suppress_edits',
    [{ kind: 'event_property_is', key: 'content.m\\.relates_to.rel_type', value: 'm.replace' }],
    [],
  ),
];

const UNDERRIDES: readonly PushRule[] = [
  rule('.m.rule.call', [typeIs('m.call.invite')], ['notify', SOUND_RING]),
  rule('.m.rule.encrypted_room_one_to_one', [twoMembers, typeIs('m.room.encrypted')], ['notify', SOUND_DEFAULT]),
  rule('.m.rule.room_one_to_one', [twoMembers, typeIs('m.room.message')], ['notify', SOUND_DEFAULT]),
  rule('.m.rule.message', [typeIs('m.room.message')], ['notify']),
  rule('.m.rule.encrypted', [typeIs('m.room.encrypted')], ['notify']),
];

/** The ruleset of a user who has changed nothing. */
export function defaultRuleset(userId: string): PushRuleset {
  return {
    override: [
      MASTER,
      SUPPRESS_NOTICES,
      inviteForMe(userId),
      MEMBER_EVENT,
      isUserMention(userId),
      ...OVERRIDES_AFTER_MENTION,
    ],
    content: [],
    room: [],
    sender: [],
    underride: UNDERRIDES,
  };
}

/** The default rules that say the same for every user: all but `.m.rule.invite_for_me` and `.m.rule.is_user_mention`. */
export const IMPERSONAL_RULESET: PushRuleset = {
  override: [MASTER, SUPPRESS_NOTICES, MEMBER_EVENT, ...OVERRIDES_AFTER_MENTION],
  content: [],
  room: [],
  sender: [],
  underride: UNDERRIDES,
};
