import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** What a rule of this server, or the moderation tool of its operator, does not allow. */
export class PolicyRefusal extends MatrixError {}
