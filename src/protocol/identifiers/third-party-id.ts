import { domainToASCII, domainToUnicode } from 'node:url';

/** Addresses of people outside Matrix. Appendices, "3PID Types". */

/** A person's address on another network, in the one form in which it is compared. */
export interface ThirdPartyId {
  readonly medium: 'email' | 'msisdn';
  readonly address: string;
}

/** RFC 5321, 4.5.3.1: octets. */
const MAX_EMAIL_BYTES = 254;
const MAX_LOCAL_PART_BYTES = 64;
/** No other text: no display name, angle brackets, comments or `mailto:`; characters of any script. */
const LOCAL_PART = /^[^\s@<>()[\]\\,:;"\p{C}]+$/u;
const DOMAIN_LABEL = /^(?!-)[\p{L}\p{N}\p{M}-]+(?<!-)$/u;
/** Domains that can be written in two alphabets. */
const FOREIGN = /[^\0-\x7f]|[@.]xn--/i;
/** E.164 without the `+`. */
const MSISDN = /^[1-9][0-9]{1,14}$/;

/** The address as it is compared; undefined when it is no address of that medium, or the medium is not known. */
export const thirdPartyId = (medium: string, address: string): ThirdPartyId | undefined => {
  if (medium === 'email') {
    if (!isEmail(address)) return undefined;
    const canonical = withOneDomain(caseFold(address));
    return canonical !== undefined && isEmail(canonical) ? { medium, address: canonical } : undefined;
  }
  return medium === 'msisdn' && MSISDN.test(address) ? { medium, address } : undefined;
};

const isEmail = (address: string): boolean => {
  if (Buffer.byteLength(address) > MAX_EMAIL_BYTES) return false;
  const [local = '', domain = '', ...rest] = address.split('@');
  const isLocalPart =
    LOCAL_PART.test(local) &&
    Buffer.byteLength(local) <= MAX_LOCAL_PART_BYTES &&
    local.split('.').every((atom) => atom !== '');
  return rest.length === 0 && isLocalPart && domain.split('.').every((label) => DOMAIN_LABEL.test(label));
};

/**
 * Domains in one alphabet: `xn--bcher-kva.example` and `bücher.example` are the same. Undefined for one that is none. RFC 5890.
 */
const withOneDomain = (address: string): string | undefined => {
  const at = address.indexOf('@');
  if (!FOREIGN.test(address.slice(at))) return address;
  const ascii = domainToASCII(address.slice(at + 1));
  return ascii === '' ? undefined : `${address.slice(0, at)}@${caseFold(domainToUnicode(ascii))}`;
};

/**
 * Full case folding (Unicode, "Caseless Matching"), character by character: up and down again, which takes ß to ss and every sigma to
 * the same one. What has no capital of its own in it stays.
 */
export const caseFold = (text: string): string =>
  Array.from(text, (character) =>
    character === 'ı' || CHEROKEE.test(character)
      ? foldedOf(character)
      : character.toLowerCase().toUpperCase().toLowerCase(),
  ).join('');

/** Cherokee folds to its capitals, which were there first; the dotless i is a letter of its own. */
const CHEROKEE = /[\u13a0-\u13fd\uab70-\uabbf]/u;
const foldedOf = (character: string): string => (character === 'ı' ? character : character.toUpperCase());

/**
 * Says to people in a room who was invited, and no more: `f...@b...`. What is shorter than two characters is left out altogether.
 * `m.room.third_party_invite`: "This should not contain the user's third-party ID".
 */
export const obfuscatedAddress = ({ address }: ThirdPartyId): string => address.split('@').map(obfuscated).join('@');

const obfuscated = (part: string): string => {
  const [first, ...rest] = Array.from(part);
  return first === undefined || rest.length === 0 ? '...' : `${first}...`;
};
