/** The server-default push rules (Client-Server API v1.19, "Predefined Rules"). */

import { localpartOf } from '#src/protocol/identifiers/server-name.ts';
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

/** Under the name that it has until it is part of the specification. MSC4028. */
const ENCRYPTED_EVENT_RULE_ID = '.org.matrix.msc4028.encrypted_event';

/**
 * Only clients can tell whether an encrypted event mentions its user: it is pushed to them also in rooms where only mentions notify,
 * too. What they are pushed for that alone is not unread.
 */
const ENCRYPTED_EVENT = rule(
  ENCRYPTED_EVENT_RULE_ID,
  [{ kind: 'event_property_is', key: 'type', value: 'm.room.encrypted' }],
  ['notify'],
);

/** Rules that say what is pushed, and nothing of what is unread. */
export const RULES_FOR_PUSHES: ReadonlySet<string> = new Set([ENCRYPTED_EVENT_RULE_ID]);

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

/**
 * The rules that look for mentions in the text of a message, up to v1.16. Messages with `m.mentions`
 * are no matter of theirs; others have no other way to mention a user.
 */
const CONTAINS_DISPLAY_NAME = rule(
  '.m.rule.contains_display_name',
  [{ kind: 'contains_display_name' }],
  ['notify', SOUND_DEFAULT, HIGHLIGHT],
);

const ROOM_NOTIFICATION = rule(
  '.m.rule.roomnotif',
  [
    { kind: 'event_match', key: 'content.body', pattern: '@room' },
    { kind: 'sender_notification_permission', key: 'room' },
  ],
  ['notify', HIGHLIGHT],
);

const containsUserName = (userId: string): PushRule => ({
  rule_id: '.m.rule.contains_user_name',
  default: true,
  enabled: true,
  pattern: localpartOf(userId),
  actions: ['notify', SOUND_DEFAULT, HIGHLIGHT],
});

/** Rules that count for events without `m.mentions` only. */
export const LEGACY_MENTION_RULES: ReadonlySet<string> = new Set([
  CONTAINS_DISPLAY_NAME.rule_id,
  ROOM_NOTIFICATION.rule_id,
  '.m.rule.contains_user_name',
]);

/** Rules that match only for users that an event mentions, by `m.mentions` or in its text. */
export const RULES_FOR_NAMED: ReadonlySet<string> = new Set([
  '.m.rule.invite_for_me',
  '.m.rule.is_user_mention',
  CONTAINS_DISPLAY_NAME.rule_id,
  '.m.rule.contains_user_name',
]);

const IS_ROOM_MENTION = rule(
  '.m.rule.is_room_mention',
  [
    { kind: 'event_property_is', key: 'content.m\\.mentions.room', value: true },
    { kind: 'sender_notification_permission', key: 'room' },
  ],
  ['notify', HIGHLIGHT],
);

/** Polls are like messages, answers to them silent; under the names that all this has until it is part of the specification. MSC3930. */
const POLL_START = typeIs('org.matrix.msc3381.poll.start');
const POLL_END = typeIs('org.matrix.msc3381.poll.end');
const POLL_RESPONSE = typeIs('org.matrix.msc3381.poll.response');

const POLL_UNDERRIDES: readonly PushRule[] = [
  rule('.org.matrix.msc3930.rule.poll_start_one_to_one', [twoMembers, POLL_START], ['notify', SOUND_DEFAULT]),
  rule('.org.matrix.msc3930.rule.poll_start', [POLL_START], ['notify']),
  rule('.org.matrix.msc3930.rule.poll_end_one_to_one', [twoMembers, POLL_END], ['notify', SOUND_DEFAULT]),
  rule('.org.matrix.msc3930.rule.poll_end', [POLL_END], ['notify']),
];

const OVERRIDES_AFTER_MENTION: readonly PushRule[] = [
  rule('.m.rule.tombstone', [typeIs('m.room.tombstone'), stateKeyIs('')], ['notify', HIGHLIGHT]),
  rule('.m.rule.reaction', [typeIs('m.reaction')], []),
  rule('.m.rule.room.server_acl', [typeIs('m.room.server_acl'), stateKeyIs('')], []),
  rule('.org.matrix.msc3930.rule.poll_response', [POLL_RESPONSE], []),
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
  ...POLL_UNDERRIDES,
];

/** Nothing that is said in a thread notifies who does not follow it, unless it mentions them. MSC4306. */
export const UNSUBSCRIBED_THREAD_RULE_ID = '.io.element.msc4306.rule.unsubscribed_thread';
/** All that is said in a thread notifies who follows it, whatever they want to hear of the room. MSC4306. */
export const SUBSCRIBED_THREAD_RULE_ID = '.io.element.msc4306.rule.subscribed_thread';

const threadIs = (subscribed: boolean): PushCondition => ({
  kind: 'io.element.msc4306.thread_subscription',
  subscribed,
});

/** They are enabled for users when they begin to follow threads: clients that know nothing of that would fall silent. */
const POSTCONTENT: readonly PushRule[] = [
  rule(UNSUBSCRIBED_THREAD_RULE_ID, [threadIs(false)], [], false),
  rule(SUBSCRIBED_THREAD_RULE_ID, [threadIs(true)], ['notify', SOUND_DEFAULT], false),
];

/** The default rules of a server. */
export interface DefaultRules {
  /** The ruleset of a user who has changed nothing. */
  of(userId: string): PushRuleset;
  /** Those of them that say the same for every user: all but the ones of `RULES_FOR_NAMED`. */
  readonly impersonal: PushRuleset;
  readonly legacyMentions: boolean;
  /** Whether all that is encrypted is pushed, unless the user has silenced the room. MSC4028. */
  readonly encryptedEvents: boolean;
}

const defaultRules = (legacyMentions: boolean, encryptedEvents = false): DefaultRules => {
  const legacy = (one: PushRule): readonly PushRule[] => (legacyMentions ? [one] : []);
  const others = { postcontent: POSTCONTENT, room: [], sender: [], underride: UNDERRIDES };
  return {
    of: (userId) => ({
      override: [
        MASTER,
        ...(encryptedEvents ? [ENCRYPTED_EVENT] : []),
        SUPPRESS_NOTICES,
        inviteForMe(userId),
        MEMBER_EVENT,
        isUserMention(userId),
        ...legacy(CONTAINS_DISPLAY_NAME),
        IS_ROOM_MENTION,
        ...legacy(ROOM_NOTIFICATION),
        ...OVERRIDES_AFTER_MENTION,
      ],
      content: legacyMentions ? [containsUserName(userId)] : [],
      ...others,
    }),
    impersonal: {
      override: [
        MASTER,
        SUPPRESS_NOTICES,
        MEMBER_EVENT,
        IS_ROOM_MENTION,
        ...legacy(ROOM_NOTIFICATION),
        ...OVERRIDES_AFTER_MENTION,
      ],
      content: [],
      ...others,
    },
    legacyMentions,
    encryptedEvents,
  };
};

/** The rules of v1.19. */
export const DEFAULT_RULES: DefaultRules = defaultRules(false);

/** The same with those that look for mentions in texts. */
export const DEFAULT_RULES_WITH_LEGACY_MENTIONS: DefaultRules = defaultRules(true);

const WITH_ENCRYPTED_EVENTS = defaultRules(false, true);
const WITH_BOTH = defaultRules(true, true);

/** The default rules of a server that is set up so. */
export const defaultRulesFor = (options: {
  readonly legacyMentions: boolean;
  readonly encryptedEvents: boolean;
}): DefaultRules => {
  if (options.encryptedEvents) return options.legacyMentions ? WITH_BOTH : WITH_ENCRYPTED_EVENTS;
  return options.legacyMentions ? DEFAULT_RULES_WITH_LEGACY_MENTIONS : DEFAULT_RULES;
};
