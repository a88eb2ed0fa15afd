import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Membership } from '#src/services/room-model/room/membership.ts';

/** What member events show of a user. */
export interface MemberProfile {
  readonly displayname?: string | undefined;
  /** `mxc://` URI. */
  readonly avatar_url?: string | undefined;
}

/** Looks up display names and avatars for member events. */
export interface ProfileSource {
  /** The profile of a user; empty for one that is not known here. */
  profileOf(userId: string): Promise<MemberProfile>;
}

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
