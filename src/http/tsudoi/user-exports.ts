import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { UserExports, UserExport } from '#src/services/admin/privacy/user-exports.ts';
import { KEEPS_OWN, READS } from '#src/services/accounts/admission/access-rules.ts';
import { actorOf } from '../actor.ts';
import { empty } from '../client-server/parts/room-schemas.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint, Reply } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';
import { ACCOUNT_ERRORS, userParams } from '../synapse-admin/parts/users.ts';

const ADMIN = '/_tsudoi/admin/v1/users/{user_id}/exports';
const OWN = '/_tsudoi/client/v1/exports';
const request = Type.Object({ with_files: Type.Optional(Type.Boolean()) });
const made = Type.Object({ export_id: Type.String() });
const list = Type.Object({
  exports: Type.Array(
    Type.Object({
      export_id: Type.String(),
      status: Type.String(),
      created_ts: Type.Integer(),
      bytes: Type.Optional(Type.Integer()),
      rooms: Type.Optional(Type.Integer()),
      events: Type.Optional(Type.Integer()),
      files: Type.Optional(Type.Integer()),
      expires_ts: Type.Optional(Type.Integer()),
      error: Type.Optional(Type.String()),
    }),
  ),
});
const oneOf = Type.Object({ user_id: Type.String(), export_id: Type.String() });
const ERRORS = [...ACCOUNT_ERRORS, 'M_LIMIT_EXCEEDED'] as const;

interface Services {
  readonly userExports: UserExports;
  /** Whether users export their own data themselves. */
  readonly usersExport: boolean;
}

const listBody = (exports: readonly UserExport[]): Record<string, unknown> => ({
  exports: exports.map(({ createdTs, error, id, result, status }) => ({
    export_id: id,
    status,
    created_ts: createdTs,
    ...result,
    ...(error === undefined ? {} : { error }),
  })),
});

const archiveReply = ({ bytes, stream }: Awaited<ReturnType<UserExports['read']>>, id: string): Reply =>
  new Reply({
    stream,
    length: bytes,
    contentType: 'application/zip',
    headers: { 'Content-Disposition': `attachment; filename="${id}.zip"`, 'Cache-Control': 'no-store' },
  });

/** @throws MatrixError M_FORBIDDEN */
const assertOpen = ({ usersExport }: Services): void => {
  if (!usersExport)
    throw new MatrixError('M_FORBIDDEN', 'On this server only administrators can export the data of a user.');
};

const own = {
  auth: 'accessToken',
  guests: { refused: 'guests have nothing that stays' },
  rateLimit: 'report',
} as const;

/** Archives of all data of a user: made by administrators, or by the users themselves where they may. */
export const userExportEndpoints = [
  endpoint({
    operationId: 'exportUser',
    summary: 'Has an archive made of all that there is of a user: a task.',
    method: 'POST',
    path: ADMIN,
    ...OF_ADMINISTRATORS,
    params: userParams,
    body: request,
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: made,
    errcodes: [...ERRORS, 'M_BAD_JSON'],
    async handler({ userExports }: Services, { params: { user_id: userId }, body, requester, info }) {
      return { export_id: await userExports.start(actorOf(requester, info), userId, body.with_files !== false) };
    },
  }),
  endpoint({
    operationId: 'listExports',
    summary: 'The archives of a user that were asked for, the newest first.',
    method: 'GET',
    path: ADMIN,
    ...OF_ADMINISTRATORS,
    params: userParams,
    response: list,
    errcodes: ERRORS,
    handler: async ({ userExports }: Services, { params: { user_id: userId } }) =>
      listBody(await userExports.list(userId)),
  }),
  endpoint({
    operationId: 'downloadExport',
    summary: 'The archive itself.',
    method: 'GET',
    path: `${ADMIN}/{export_id}`,
    ...OF_ADMINISTRATORS,
    params: oneOf,
    response: Type.Any(),
    responseType: 'application/zip',
    errcodes: ERRORS,
    handler: async ({ userExports }: Services, { params: { export_id: id, user_id: userId }, requester, info }) =>
      archiveReply(await userExports.read(actorOf(requester, info), userId, id), id),
  }),
  endpoint({
    operationId: 'deleteExport',
    summary: 'Deletes an archive before its time, or stops making it.',
    method: 'DELETE',
    path: `${ADMIN}/{export_id}`,
    ...OF_ADMINISTRATORS,
    params: oneOf,
    response: empty,
    errcodes: ERRORS,
    async handler({ userExports }: Services, { params: { export_id: id, user_id: userId }, requester, info }) {
      await userExports.delete(actorOf(requester, info), userId, id);
      return {};
    },
  }),
  endpoint({
    operationId: 'exportOwnData',
    summary: 'Has an archive made of all that there is of the requester, where privacy.users_export is on.',
    method: 'POST',
    path: OWN,
    ...own,
    suspended: KEEPS_OWN,
    body: request,
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: made,
    errcodes: [...ERRORS, 'M_FORBIDDEN', 'M_BAD_JSON'],
    async handler(services: Services, { body, requester, info }) {
      assertOpen(services);
      const { userId } = requester;
      return {
        export_id: await services.userExports.start(actorOf(requester, info), userId, body.with_files !== false),
      };
    },
  }),
  endpoint({
    operationId: 'listOwnExports',
    summary: 'The archives of the requester.',
    method: 'GET',
    path: OWN,
    ...own,
    suspended: READS,
    response: list,
    errcodes: [...ERRORS, 'M_FORBIDDEN'],
    async handler(services: Services, { requester }) {
      assertOpen(services);
      return listBody(await services.userExports.list(requester.userId));
    },
  }),
  endpoint({
    operationId: 'downloadOwnExport',
    summary: 'The archive itself.',
    method: 'GET',
    path: `${OWN}/{export_id}`,
    ...own,
    suspended: READS,
    params: Type.Object({ export_id: Type.String() }),
    response: Type.Any(),
    responseType: 'application/zip',
    errcodes: [...ERRORS, 'M_FORBIDDEN'],
    async handler(services: Services, { params: { export_id: id }, requester, info }) {
      assertOpen(services);
      return archiveReply(await services.userExports.read(actorOf(requester, info), requester.userId, id), id);
    },
  }),
];
