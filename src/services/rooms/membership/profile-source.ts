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
