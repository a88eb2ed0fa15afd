import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { LocalAccounts } from './local-accounts.ts';

/** The experimental features that tools for Synapse switch on for single users. Here they are on for everybody. */
const FEATURES: readonly string[] = ['msc3881', 'msc3575', 'msc4222'];

/** Experimental features by user. */
export class UserFeatures {
  readonly #localAccounts: LocalAccounts;

  constructor(localAccounts: LocalAccounts) {
    this.#localAccounts = localAccounts;
  }

  /** @throws MatrixError M_INVALID_PARAM, M_UNKNOWN (400) for users of other servers */
  of(userId: string): Readonly<Record<string, boolean>> {
    this.#localAccounts.assertLocal(userId);
    return Object.fromEntries(FEATURES.map((feature) => [feature, true]));
  }

  /** @throws MatrixError M_INVALID_PARAM; M_UNKNOWN (400) for users of other servers, unknown features, and those that are to be off */
  assertPossible(userId: string, wanted: Readonly<Record<string, boolean>>): void {
    this.#localAccounts.assertLocal(userId);
    const names = Object.keys(wanted);
    if (names.length === 0) throw new MatrixError('M_UNKNOWN', 'You must provide features to set.');
    const unknown = names.find((name) => !FEATURES.includes(name));
    if (unknown !== undefined)
      throw new MatrixError('M_UNKNOWN', `'${unknown}' is not recognised as a valid experimental feature.`);
    const off = names.find((name) => wanted[name] === false);
    if (off !== undefined)
      throw new MatrixError('M_UNKNOWN', `${off} is on for everybody on this server: it cannot be off for one user.`);
  }
}
