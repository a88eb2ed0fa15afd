import { fitsBytes } from './byte-length.ts';
import { domainOf, isServerName, localpartOf } from './server-name.ts';

/** `&localpart:domain`, taken apart. */
export interface DomainIdentifier {
  readonly localpart: string;
  readonly domain: string;
}

/**
 * Reads `&localpart:domain`, whatever its length. The localpart may be any well-formed text without NUL; it ends at the first
 * colon. Appendices, "Common Identifier Format".
 */
export function parseDomainIdentifier(sigil: '@' | '!' | '#' | '$', id: unknown): DomainIdentifier | undefined {
  if (typeof id !== 'string' || !id.startsWith(sigil) || id.includes('\0') || !id.isWellFormed()) return undefined;
  const domain = domainOf(id);
  return isServerName(domain) ? { localpart: localpartOf(id), domain } : undefined;
}

/**
 * Reads a user id in the historical grammar, which is what events must be accepted with: "localparts consisting of any legal
 * non-surrogate Unicode code points except for `:` and NUL, including other control characters and the empty string".
 */
export function parseUserId(id: unknown): DomainIdentifier | undefined {
  const parsed = parseDomainIdentifier('@', id);
  return parsed !== undefined && fitsBytes(id as string) ? parsed : undefined;
}

/** Whether `id` is a user id in the historical grammar. Appendices, "Historical User IDs". */
export function isUserId(id: unknown): id is string {
  return parseUserId(id) !== undefined;
}

/** Whether `id` is a user id, in the historical grammar, of this server. */
export function isUserIdOf(serverName: string, id: unknown): id is string {
  return parseUserId(id)?.domain === serverName;
}

/** Whether a user id may be shown outside the context of an event: its localpart is not empty and within U+0021 to U+007E. */
export function isCompliantUserId(id: unknown): id is string {
  const parsed = parseUserId(id);
  return parsed !== undefined && /^[!-~]+$/.test(parsed.localpart);
}

/** Whether a new account may have this localpart: `a-z`, `0-9`, `.`, `_`, `=`, `-`, `/` and `+`, not empty. */
export function isNewLocalpart(localpart: string): boolean {
  return /^[a-z0-9._=\-/+]+$/.test(localpart);
}

/** The user id of a new local account, or undefined if localpart or length break the strict grammar. */
export function newUserId(localpart: string, serverName: string): string | undefined {
  const id = `@${localpart}:${serverName}`;
  return isNewLocalpart(localpart) && fitsBytes(id) ? id : undefined;
}

const HASH = /^[A-Za-z0-9_-]{43}$/;

/** Whether `id` is a room id that is the hash of its create event (`!` and 43 characters of URL-safe base64). Since v12. */
export function isHashRoomId(id: unknown): id is string {
  return typeof id === 'string' && id.startsWith('!') && HASH.test(id.slice(1));
}

/** Whether `id` is a room id with a domain. Until v11. */
function isDomainRoomId(id: unknown): id is string {
  return parseDomainIdentifier('!', id) !== undefined && fitsBytes(id as string);
}

/** Whether `id` is a room id of any room version. Appendices, "Room IDs". */
export function isRoomId(id: unknown): id is string {
  return isHashRoomId(id) || isDomainRoomId(id);
}

/** Reads a room alias, `#localpart:domain`. Appendices, "Room Aliases". */
export function parseRoomAlias(alias: unknown): DomainIdentifier | undefined {
  const parsed = parseDomainIdentifier('#', alias);
  return parsed !== undefined && fitsBytes(alias as string) ? parsed : undefined;
}

/** Whether `alias` is a room alias. */
export function isRoomAlias(alias: unknown): alias is string {
  return parseRoomAlias(alias) !== undefined;
}

/** Whether `id` could be an event id of some room version: `$` and 1 to 254 bytes of text. Appendices, "Event IDs". */
export function isEventId(id: unknown): id is string {
  return (
    typeof id === 'string' &&
    id.length > 1 &&
    id.startsWith('$') &&
    !id.includes('\0') &&
    id.isWellFormed() &&
    fitsBytes(id)
  );
}

/** Whether `id` follows the Opaque Identifier Grammar: 1 to `maxLength` of `0-9 A-Z a-z - . _ ~`. */
export function isOpaqueId(id: unknown, maxLength = 255): id is string {
  return typeof id === 'string' && id.length <= maxLength && /^[0-9A-Za-z\-._~]+$/.test(id);
}

/** The parts of an `mxc://` URI. */
export interface MxcUri {
  readonly serverName: string;
  readonly mediaId: string;
}

/** Reads `mxc://<server-name>/<media-id>`; the media id consists of `A-Z a-z 0-9 _ -`. Client-Server API, "Content repository". */
export function parseMxcUri(uri: unknown): MxcUri | undefined {
  if (typeof uri !== 'string') return undefined;
  const match = /^mxc:\/\/([^/]+)\/([A-Za-z0-9_-]{1,255})$/.exec(uri);
  if (match === null || !isServerName(match[1])) return undefined;
  return { serverName: match[1], mediaId: match[2] as string };
}

/** Writes an `mxc://` URI. */
export function formatMxcUri(serverName: string, mediaId: string): string {
  return `mxc://${serverName}/${mediaId}`;
}
