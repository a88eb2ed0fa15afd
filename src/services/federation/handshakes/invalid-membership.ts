import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { VerifiedPdu } from '#src/services/servers/keys/event-verifier.ts';

/**
 * Why a membership that another server brings is refused: M_BAD_JSON where it is no event of the room's version, and M_INVALID_PARAM where it
 * "fails a signature check". Server-Server API, "Joining Rooms", "Inviting to a room".
 */
export const invalidMembership = (
  what: string,
  verdict: (VerifiedPdu & { readonly ok: false }) | undefined,
): MatrixError =>
  new MatrixError(
    verdict?.isMalformed === true ? 'M_BAD_JSON' : 'M_INVALID_PARAM',
    `${what} is not valid: ${verdict?.reason ?? 'it is missing'}.`,
  );
