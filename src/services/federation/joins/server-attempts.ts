import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { type FederationFailure, matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import type { Handshake, MadeMembership, MembershipApi } from '#src/remote/federation/membership-api.ts';
import { BadAnswerError } from '#src/services/federation/room-import/join-answer-splitter.ts';

/** A server refused a request: the next one is tried, or the user gets the error. */
export class RefusalError extends Error {
  readonly failure: FederationFailure;

  constructor(failure: FederationFailure) {
    super(failure.error);
    this.failure = failure;
  }
}

/** Asks a server for the template of a membership. @throws RefusalError */
export const membershipTemplate = async (
  api: MembershipApi,
  how: Handshake,
  server: string,
  request: { readonly roomId: string; readonly userId: string; readonly known?: RoomVersion | undefined },
): Promise<MadeMembership> => {
  const answer = await api.make(how, server, request);
  if (!answer.ok) throw new RefusalError(answer);
  return answer;
};

/** Errors that say something about the server that was asked, and not about the user: another server may answer otherwise. */
const ANOTHER_MAY: ReadonlySet<string> = new Set([
  'M_NOT_FOUND',
  'M_UNRECOGNIZED',
  'M_UNABLE_TO_AUTHORISE_JOIN',
  'M_UNABLE_TO_GRANT_JOIN',
  'M_LIMIT_EXCEEDED',
  'M_UNAUTHORIZED',
  'ORG.MATRIX.MSC3895_UNABLE_DUE_TO_PARTIAL_STATE',
  'M_UNABLE_DUE_TO_PARTIAL_STATE',
]);

/**
 * Errors that say that the request of this server is malformed, whose client is not to blame: "the Client-Server API request SHOULD fail with a
 * 5xx error rather than being passed through". Server-Server API, `PUT /send_join`.
 */
const ABOUT_OUR_REQUEST: ReadonlySet<string> = new Set(['M_MISSING_PARAM', 'M_INVALID_PARAM']);

const refusalOf = (error: unknown): FederationFailure | undefined =>
  error instanceof RefusalError ? error.failure : undefined;

const badAnswer = (destination: string, { message }: BadAnswerError): FederationFailure => ({
  ok: false,
  kind: 'bad_answer',
  destination,
  error: `${destination} gave an answer that cannot be used. ${message}`,
});

/**
 * Asks servers one after the other.
 *
 * @param named those that the client, an invite or a knock named: others are asked only where none of these answers
 * @throws MatrixError what one of them said, or why none could be asked
 */
export const tryEach = async <T>(
  logger: Logger,
  servers: readonly string[],
  attempt: (server: string) => Promise<T>,
  named = servers,
): Promise<T> => {
  let told: FederationFailure | undefined;
  let silent: FederationFailure | undefined;
  for (const server of servers) {
    if (told !== undefined && !named.includes(server)) continue;
    try {
      return await attempt(server);
    } catch (error) {
      const failure = error instanceof BadAnswerError ? badAnswer(server, error) : refusalOf(error);
      if (failure === undefined) throw error;
      logger.info('a membership request to another server failed', {
        server,
        kind: failure.kind,
        errcode: failure.errcode,
        reason: failure.error,
      });
      if (ABOUT_OUR_REQUEST.has(failure.errcode ?? ''))
        silent ??= { ...failure, kind: 'bad_answer', error: `${server} does not take the request: ${failure.error}` };
      else if (failure.kind !== 'refused' || (failure.status ?? 500) >= 500) silent ??= failure;
      else if (ANOTHER_MAY.has(failure.errcode ?? 'M_NOT_FOUND')) told ??= failure;
      else throw matrixErrorOf(failure);
    }
  }
  const failure = told ?? silent;
  throw failure === undefined
    ? new MatrixError('M_NOT_FOUND', 'No server is known that is in the room.')
    : matrixErrorOf(failure);
};
