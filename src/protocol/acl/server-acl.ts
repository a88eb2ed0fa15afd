import { parseServerName } from '../identifiers/server-name.ts';
import type { JsonObject, JsonValue } from '../json/json-value.ts';
import { type Glob, globMatches, parseGlob } from '../matching/glob.ts';

/** The content of `m.room.server_acl`, made ready to be asked many times. */
export interface ServerAcl {
  readonly allowIpLiterals: boolean;
  readonly allow: readonly Glob[];
  readonly deny: readonly Glob[];
}

/** Server names are ASCII: only its capitals are folded, on both sides. */
const fold = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

const globs = (list: JsonValue | undefined): Glob[] =>
  Array.isArray(list)
    ? list.filter((entry) => typeof entry === 'string').map((entry) => parseGlob(fold(entry as string)))
    : [];

/**
 * Reads the content of `m.room.server_acl`. What is of a wrong type counts as missing: then IP literals are allowed, and both lists are
 * empty ("effectively disallowing every server").
 */
export const parseServerAcl = (content: JsonObject): ServerAcl => ({
  allowIpLiterals: content['allow_ip_literals'] !== false,
  allow: globs(content['allow']),
  deny: globs(content['deny']),
});

/**
 * Whether a server may take part in a room, by the five steps of `m.room.server_acl`. Client-Server API, "Server Access Control Lists".
 *
 * @param acl undefined for a room without such an event
 * @param serverName with or without a port: ports are not looked at. What is no server name is refused by every list.
 */
export const isServerAllowed = (acl: ServerAcl | undefined, serverName: string): boolean => {
  if (acl === undefined) return true;
  const name = parseServerName(serverName);
  if (name === undefined) return false;
  if (name.kind !== 'dns' && !acl.allowIpLiterals) return false;
  const host = fold(name.host);
  if (acl.deny.some((glob) => globMatches(glob, host))) return false;
  return acl.allow.some((glob) => globMatches(glob, host));
};
