import { type TSchema, Type } from 'typebox';
import type { UserDetails } from '#src/services/admin/users/user-reads.ts';

export const userParams = Type.Object({ user_id: Type.String() });

export const orNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** The errcodes of requests about a local account. */
export const ACCOUNT_ERRORS = ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_UNKNOWN'] as const;

/** A user in the form of Synapse's admin API. */
export const userSchema = Type.Object({
  name: Type.String(),
  displayname: orNull(Type.String()),
  avatar_url: orNull(Type.String()),
  threepids: Type.Array(
    Type.Object({
      medium: Type.String(),
      address: Type.String(),
      added_at: Type.Integer(),
      validated_at: Type.Integer(),
    }),
  ),
  external_ids: Type.Array(Type.Object({ auth_provider: Type.String(), external_id: Type.String() })),
  is_guest: Type.Boolean(),
  admin: Type.Boolean(),
  deactivated: Type.Boolean(),
  erased: Type.Boolean(),
  locked: Type.Boolean(),
  suspended: Type.Boolean(),
  shadow_banned: Type.Boolean(),
  /** Seconds, unlike everywhere else. */
  creation_ts: Type.Integer(),
  last_seen_ts: orNull(Type.Integer()),
  appservice_id: orNull(Type.String()),
  consent_server_notice_sent: orNull(Type.String()),
  consent_version: orNull(Type.String()),
  consent_ts: orNull(Type.Integer()),
  user_type: orNull(Type.String()),
});

export const userBody = ({ account, consent, ...user }: UserDetails): Record<string, unknown> => ({
  name: account.userId,
  displayname: user.displayname ?? null,
  avatar_url: user.avatarUrl ?? null,
  threepids: user.threepids.map(({ address, addedTs, medium, validatedTs }) => ({
    medium,
    address,
    added_at: addedTs,
    validated_at: validatedTs,
  })),
  external_ids: user.externalIds.map(({ externalId, provider }) => ({
    auth_provider: provider,
    external_id: externalId,
  })),
  is_guest: account.isGuest,
  admin: account.admin,
  deactivated: account.deactivated,
  erased: account.erased,
  locked: account.locked,
  suspended: account.suspended,
  shadow_banned: account.shadowBanned,
  creation_ts: Math.floor(account.createdTs / 1000),
  last_seen_ts: user.lastSeenTs,
  appservice_id: account.appserviceId,
  consent_server_notice_sent: null,
  consent_version: consent?.version ?? null,
  consent_ts: consent?.acceptedTs ?? null,
  user_type: account.userType,
});
