import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { Membership } from '#src/services/room-model/room/membership.ts';
import type { MemberProfile } from './profile-source.ts';

/** The content of an `m.room.member`: members that are undefined are left out. */
export const memberContent = (
  membership: Membership,
  profile: MemberProfile,
  more: { readonly [member: string]: JsonObject[string] | undefined } = {},
): JsonObject => {
  const content: Record<string, JsonObject[string]> = { membership };
  for (const [name, value] of Object.entries({
    displayname: profile.displayname,
    avatar_url: profile.avatar_url,
    ...more,
  })) {
    if (value !== undefined) content[name] = value;
  }
  return content;
};

/** An `m.room.member` that is to be sent. @param stateKey the user whose membership it is */
export const memberDraft = (sender: string, stateKey: string, content: JsonObject): EventDraft => ({
  type: MEMBER,
  sender,
  stateKey,
  content,
});
