import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { thirdPartyId, type ThirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import { type Glob, globMatches, parseGlob } from '#src/protocol/matching/glob.ts';

/** Which mail addresses users may have. */
export interface AddressPolicy {
  /** Domains, `*` as wildcard; null for all. */
  readonly allowedDomains: readonly string[] | null;
  readonly deniedDomains: readonly string[];
}

/** Checks mail addresses before anything is sent to them. */
export class AddressRules {
  readonly #allowed: readonly Glob[] | undefined;
  readonly #denied: readonly Glob[];

  constructor({ allowedDomains, deniedDomains }: AddressPolicy) {
    this.#allowed = allowedDomains?.map(globOf);
    this.#denied = deniedDomains.map(globOf);
  }

  /** The address as it is compared and kept. @throws MatrixError M_INVALID_PARAM, M_THREEPID_DENIED */
  check(address: string): ThirdPartyId {
    const id = thirdPartyId('email', address);
    if (id === undefined) throw new MatrixError('M_INVALID_PARAM', 'That is no mail address.');
    const domain = id.address.slice(id.address.indexOf('@') + 1);
    const isAllowed = this.#allowed?.some((glob) => globMatches(glob, domain)) ?? true;
    if (!isAllowed || this.#denied.some((glob) => globMatches(glob, domain)))
      throw new MatrixError('M_THREEPID_DENIED', 'This server does not take addresses of that domain.');
    return id;
  }
}

/** Domains are compared as addresses are: in the form that `thirdPartyId` gives them. */
const globOf = (domain: string): Glob =>
  parseGlob(thirdPartyId('email', `x@${domain}`)?.address.slice(2) ?? domain.toLowerCase());
