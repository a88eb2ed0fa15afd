import { type Static, Type } from 'typebox';
import type { AccountFilter, ListedUser, UserListing, UserPage } from '#src/services/admin/users/user-listing.ts';
import type { UserReads } from '#src/services/admin/users/user-reads.ts';
import type { UserChanges, UserPatch } from '#src/services/admin/users/user-changes.ts';
import { actorOf } from '../actor.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint, keepsEmpty, Reply } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import { ACCOUNT_ERRORS, orNull, userBody, userParams, userSchema } from './parts/users.ts';

const listQuery = Type.Object({
  from: Type.Optional(Type.Integer({ minimum: 0 })),
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  user_id: Type.Optional(Type.String()),
  name: Type.Optional(Type.String()),
  guests: Type.Optional(Type.Boolean()),
  admins: Type.Optional(Type.Boolean()),
  deactivated: Type.Optional(Type.Boolean()),
  locked: Type.Optional(Type.Boolean()),
  order_by: Type.Optional(
    Type.Union([
      Type.Literal('name'),
      Type.Literal('displayname'),
      Type.Literal('is_guest'),
      Type.Literal('admin'),
      Type.Literal('deactivated'),
      Type.Literal('user_type'),
      Type.Literal('avatar_url'),
      Type.Literal('shadow_banned'),
      Type.Literal('creation_ts'),
      Type.Literal('last_seen_ts'),
      Type.Literal('locked'),
    ]),
  ),
  dir: Type.Optional(Type.Union([Type.Literal('f'), Type.Literal('b')])),
  // An empty text leaves out users without a type.
  not_user_type: Type.Optional(keepsEmpty(Type.Array(Type.String(), { maxItems: 20 }))),
});
type ListQuery = Static<typeof listQuery>;

const listResponse = Type.Object({
  users: Type.Array(
    Type.Object({
      name: Type.String(),
      user_type: orNull(Type.String()),
      is_guest: Type.Boolean(),
      admin: Type.Boolean(),
      deactivated: Type.Boolean(),
      shadow_banned: Type.Boolean(),
      displayname: orNull(Type.String()),
      avatar_url: orNull(Type.String()),
      creation_ts: Type.Integer(),
      erased: Type.Boolean(),
      last_seen_ts: orNull(Type.Integer()),
      locked: Type.Boolean(),
    }),
  ),
  total: Type.Integer(),
  next_token: Type.Optional(Type.String()),
});

/** @param deactivated its meaning differs between the versions of the list */
const filterOf = (query: ListQuery, deactivated: boolean | undefined): AccountFilter => ({
  name: query.name,
  // "This parameter is ignored when using the `name` parameter."
  userId: query.name === undefined ? query.user_id : undefined,
  isGuest: query.guests === false ? false : undefined,
  locked: query.locked === true ? undefined : false,
  admin: query.admins,
  deactivated,
  notUserTypes: query.not_user_type?.filter((type) => type !== ''),
  hasUserType: query.not_user_type?.includes(''),
});

const pageOf = ({ dir, from, limit, order_by: order }: ListQuery) =>
  ({ order: order ?? 'name', direction: dir ?? 'f', from: from ?? 0, limit: limit ?? 100 }) as const;

const listedBody = (user: ListedUser): Record<string, unknown> => ({
  name: user.userId,
  user_type: user.userType,
  is_guest: user.isGuest,
  admin: user.admin,
  deactivated: user.deactivated,
  shadow_banned: user.shadowBanned,
  displayname: user.displayname,
  avatar_url: user.avatarUrl,
  creation_ts: user.createdTs,
  erased: user.erased,
  last_seen_ts: user.lastSeenTs,
  locked: user.locked,
});

const pageBody = ({ next, total, users }: UserPage): Record<string, unknown> => ({
  users: users.map(listedBody),
  total,
  ...(next === undefined ? {} : { next_token: String(next) }),
});

const putBody = Type.Partial(
  Type.Object({
    password: Type.String(),
    logout_devices: Type.Boolean(),
    displayname: orNull(Type.String()),
    avatar_url: orNull(Type.String()),
    threepids: Type.Array(Type.Object({ medium: Type.String(), address: Type.String() }), { maxItems: 100 }),
    external_ids: Type.Array(
      Type.Object({
        auth_provider: Type.String({ minLength: 1, maxLength: 255 }),
        external_id: Type.String({ minLength: 1, maxLength: 1024 }),
      }),
      { maxItems: 100 },
    ),
    admin: Type.Boolean(),
    deactivated: Type.Boolean(),
    locked: Type.Boolean(),
    user_type: orNull(Type.String()),
    // Accounts need no approval here: all are approved.
    approved: Type.Boolean(),
  }),
);

const userPatchOf = (body: Static<typeof putBody>): UserPatch => ({
  password: body.password,
  logoutDevices: body.logout_devices,
  displayname: body.displayname,
  avatarUrl: body.avatar_url,
  threepids: body.threepids,
  externalIds: body.external_ids?.map(({ auth_provider: provider, external_id: externalId }) => ({
    provider,
    externalId,
  })),
  admin: body.admin,
  deactivated: body.deactivated,
  locked: body.locked,
  userType: body.user_type,
});

interface Services {
  readonly userChanges: UserChanges;
  readonly userListing: UserListing;
  readonly userReads: UserReads;
}

/** Synapse Admin API, "User Admin API": accounts. */
export const userAdminEndpoints = [
  endpoint({
    operationId: 'adminListUsers',
    summary: 'The accounts of this server; without deactivated ones, unless they are wanted too.',
    method: 'GET',
    path: '/_synapse/admin/v2/users',
    ...OF_ADMINISTRATORS,
    query: listQuery,
    response: listResponse,
    errcodes: ['M_INVALID_PARAM'],
    handler: async ({ userListing }: Services, { query }) =>
      pageBody(await userListing.page(filterOf(query, query.deactivated === true ? undefined : false), pageOf(query))),
  }),
  endpoint({
    operationId: 'adminListUsersByState',
    summary: 'The accounts of this server: all of them, those that are deactivated, or those that are not.',
    method: 'GET',
    path: '/_synapse/admin/v3/users',
    ...OF_ADMINISTRATORS,
    query: listQuery,
    response: listResponse,
    errcodes: ['M_INVALID_PARAM'],
    handler: async ({ userListing }: Services, { query }) =>
      pageBody(await userListing.page(filterOf(query, query.deactivated), pageOf(query))),
  }),
  endpoint({
    operationId: 'adminGetUser',
    summary: 'All about one account.',
    method: 'GET',
    path: '/_synapse/admin/v2/users/{user_id}',
    ...OF_ADMINISTRATORS,
    params: userParams,
    response: userSchema,
    errcodes: ACCOUNT_ERRORS,
    handler: async ({ userReads }: Services, { params: { user_id: userId } }) =>
      userBody(await userReads.details(userId)),
  }),
  endpoint({
    operationId: 'adminPutUser',
    summary: 'Makes an account, or makes one what it is to be: all that is asked for, or nothing.',
    method: 'PUT',
    path: '/_synapse/admin/v2/users/{user_id}',
    ...OF_ADMINISTRATORS,
    memberEvents: ['invite', 'leave', 'profile'],
    params: userParams,
    body: putBody,
    maxBodyBytes: BODY_BYTES.record,
    response: userSchema,
    errcodes: [
      'M_BAD_JSON',
      'M_INVALID_PARAM',
      'M_INVALID_USERNAME',
      'M_THREEPID_IN_USE',
      'M_THREEPID_MEDIUM_NOT_SUPPORTED',
      'M_TOO_LARGE',
      'M_UNKNOWN',
      'M_USER_IN_USE',
    ],
    answers: {
      201: { description: 'The account is a new one.', schema: userSchema },
      409: { description: 'An external id is that of another user (M_UNKNOWN).' },
    },
    async handler({ userChanges, userReads }: Services, { params: { user_id: userId }, body, requester, info }) {
      const { isNew } = await userChanges.put(actorOf(requester, info), userId, userPatchOf(body));
      return new Reply({ status: isNew ? 201 : 200, body: userBody(await userReads.details(userId)) });
    },
  }),
  endpoint({
    operationId: 'adminSearchUsers',
    summary: 'Accounts whose user ids contain a text.',
    method: 'GET',
    path: '/_synapse/admin/v1/search_users/{user_id}',
    ...OF_ADMINISTRATORS,
    params: userParams,
    query: Type.Object({ term: Type.String() }),
    response: Type.Array(
      Type.Object({
        name: Type.String(),
        // Password hashes are never shown.
        password_hash: Type.Null(),
        is_guest: Type.Boolean(),
        admin: Type.Boolean(),
        user_type: orNull(Type.String()),
      }),
    ),
    errcodes: ['M_MISSING_PARAM'],
    handler: async ({ userListing }: Services, { query }) =>
      (await userListing.search(query.term)).map(({ admin, isGuest, userId, userType }) => ({
        name: userId,
        password_hash: null,
        is_guest: isGuest,
        admin,
        user_type: userType,
      })),
  }),
  endpoint({
    operationId: 'adminGetUserAdmin',
    summary: 'Whether a user is an administrator of this server.',
    method: 'GET',
    path: '/_synapse/admin/v1/users/{user_id}/admin',
    ...OF_ADMINISTRATORS,
    params: userParams,
    response: Type.Object({ admin: Type.Boolean() }),
    errcodes: ['M_INVALID_PARAM', 'M_UNKNOWN'],
    handler: async ({ userReads }: Services, { params: { user_id: userId } }) => ({
      admin: await userReads.isAdmin(userId),
    }),
  }),
];
