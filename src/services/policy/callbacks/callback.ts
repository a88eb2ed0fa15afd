import { type Errcode, ERRCODE_STATUS } from '#src/protocol/errors/matrix-error.ts';
import type { SpamCheckAnswer } from '#src/remote/spam-check-api.ts';
import { PolicyRefusal } from './policy-refusal.ts';

/** What a moderation tool can be asked, by the names of Synapse's spam checker callbacks. */
export const CALLBACKS = [
  'ping',
  'user_may_invite',
  'user_may_send_3pid_invite',
  'federated_user_may_invite',
  'user_may_join_room',
  'accept_make_join',
  'user_may_create_room',
  'user_may_create_room_alias',
  'user_may_publish_room',
  'check_event_for_spam',
  'check_login_for_spam',
  'check_registration_for_spam',
  'check_media_file_for_spam',
  'check_username_for_spam',
] as const;

export type Callback = (typeof CALLBACKS)[number];

const FORBIDDEN = 403;

/** The error that a client gets for a refusal: 403, with the errcode that the tool names, where it is one of the specification. */
export const refusalBy = (answer: Exclude<SpamCheckAnswer, { kind: 'allowed' }>): PolicyRefusal => {
  if (answer.kind === 'silent')
    return new PolicyRefusal('M_UNKNOWN', 'What moderates this server could not be asked. Try again later.', {}, 403);
  const { errcode = '', error = 'This server does not allow it.', fields } = answer;
  const known = Object.hasOwn(ERRCODE_STATUS, errcode) ? (errcode as Errcode) : 'M_FORBIDDEN';
  return new PolicyRefusal(known, error, fields, known === 'M_LIMIT_EXCEEDED' ? ERRCODE_STATUS[known] : FORBIDDEN);
};
