import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { endpoint } from '../endpoint.ts';

export interface SupportContact {
  readonly role: string;
  readonly matrixId?: string;
  readonly emailAddress?: string;
}

export interface SupportInformation {
  readonly contacts: readonly SupportContact[];
  readonly supportPage?: string;
  /** What else is published, by its keys. */
  readonly more: Readonly<Record<string, unknown>>;
}

interface Services {
  /** What the operator configured; undefined when there is neither a contact nor a page. */
  readonly support: () => SupportInformation | undefined;
}

/** Client-Server API, "Server administrator contact". */
export const supportEndpoints = [
  endpoint({
    operationId: 'getWellknownSupport',
    summary: 'How to reach the administrators of this server.',
    method: 'GET',
    path: '/.well-known/matrix/support',
    auth: 'none',
    rateLimit: 'none',
    response: Type.Object(
      {
        contacts: Type.Optional(
          Type.Array(
            Type.Object({
              role: Type.String(),
              matrix_id: Type.Optional(Type.String()),
              email_address: Type.Optional(Type.String()),
            }),
          ),
        ),
        support_page: Type.Optional(Type.String()),
      },
      { additionalProperties: true },
    ),
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ support }: Services) => {
      const published = support();
      if (published === undefined)
        throw new MatrixError('M_NOT_FOUND', 'The operator of this server has not published a contact.');
      return {
        ...published.more,
        ...(published.contacts.length === 0
          ? {}
          : {
              contacts: published.contacts.map(({ role, matrixId, emailAddress }) => ({
                role,
                matrix_id: matrixId,
                email_address: emailAddress,
              })),
            }),
        support_page: published.supportPage,
      };
    },
  }),
];
