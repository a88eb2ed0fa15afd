import { parse, YAMLParseError } from 'yaml';
import { parseUserId } from '#src/protocol/identifiers/identifiers.ts';
import { hashOfSecret } from '#src/protocol/identifiers/opaque-secret.ts';
import type { ApplicationService, Namespace } from './application-service.ts';
import { readPattern } from './namespace-pattern.ts';

/** A registration is invalid. The message names it, and everything that is wrong with it. */
export class RegistrationProblem extends Error {
  constructor(source: string, problems: readonly string[]) {
    super(`The application service registration ${source} cannot be used: ${problems.join('; ')}.`);
    this.name = 'RegistrationProblem';
  }
}

/** Two registrations conflict. The message says why. */
export class RegistrationConflict extends Error {
  override readonly name = 'RegistrationConflict';
}

type Json = Readonly<Record<string, unknown>>;

/** A registration as it is kept: in the specification's spelling, with the hash of its `as_token` in place of the token. */
export interface KeptRegistration {
  readonly asTokenHash: string;
  readonly registration: Json;
}

const NAMESPACES = ['users', 'aliases', 'rooms'] as const;
export const MAX_NAMESPACES = 500;
export const MAX_PROTOCOLS = 100;
const MAX_ID_LENGTH = 255;
const MAX_TOKEN_LENGTH = 1_024;
const EPHEMERAL = ['receive_ephemeral', 'de.sorunome.msc2409.push_ephemeral'];
const DEVICE_DATA = ['receive_device_data', 'org.matrix.msc3202', 'msc3202'];
const DEVICE_MANAGEMENT = ['device_management', 'io.element.msc4190', 'msc4190'];

const isMap = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

/** What identifies an `as_token` without being it. */
export const hashOfToken = (token: string): string => hashOfSecret(token).toString('base64url');

/**
 * Reads the YAML of a registration.
 *
 * @param source for what is said of it: its file
 * @throws RegistrationProblem
 */
export function parseRegistration(text: string, source: string): unknown {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof YAMLParseError)) throw error;
    throw new RegistrationProblem(source, [`it is not YAML (${error.message.split('\n')[0]?.trim()})`]);
  }
}

/** Puts the hash of its token in the place of the token. @throws RegistrationProblem */
export function withoutToken(value: unknown, source: string): KeptRegistration {
  if (!isMap(value)) throw new RegistrationProblem(source, ['it must be a map of keys']);
  const { as_token: token, ...registration } = value;
  const problem = tokenProblem('as_token', token);
  if (problem !== undefined) throw new RegistrationProblem(source, [problem]);
  return { asTokenHash: hashOfToken(token as string), registration };
}

const tokenProblem = (name: string, value: unknown): string | undefined =>
  typeof value === 'string' && /^[!-~]+$/.test(value) && value.length <= MAX_TOKEN_LENGTH
    ? undefined
    : `${name} must be a text of 1 to ${MAX_TOKEN_LENGTH} printable ASCII characters without spaces`;

/**
 * Reads a registration. Keys that are not known are passed over, as bridges have some of their own. Application Service API,
 * "Registration".
 *
 * @param source for what is said of it: its file, or `database`
 * @throws RegistrationProblem
 */
export async function readRegistration(
  { asTokenHash, registration }: KeptRegistration,
  source: string,
  serverName: string,
): Promise<ApplicationService> {
  const problems: string[] = [];
  const refuse = (problem: string): void => void problems.push(problem);
  const flag = (names: readonly string[], otherwise: boolean): boolean => {
    for (const name of names) {
      const value = registration[name];
      if (typeof value === 'boolean') return value;
      if (value !== undefined && value !== null) refuse(`${name} must be true or false`);
    }
    return otherwise;
  };

  const { hs_token: hsToken, id, protocols = [], sender_localpart: localpart } = registration;
  if (typeof id !== 'string' || id === '' || id.length > MAX_ID_LENGTH || /[\p{C}]/u.test(id))
    refuse(`id must be a text of 1 to ${MAX_ID_LENGTH} characters`);
  const tokenWrong = tokenProblem('hs_token', hsToken);
  if (tokenWrong !== undefined) refuse(tokenWrong);
  const sender = `@${String(localpart)}:${serverName}`;
  if (typeof localpart !== 'string' || localpart === '' || parseUserId(sender)?.localpart !== localpart)
    refuse('sender_localpart must be the part of a user id between the @ and the colon');
  const url = readUrl(registration['url'], refuse);
  const isNames = Array.isArray(protocols) && protocols.every((name) => typeof name === 'string' && name !== '');
  if (!isNames || protocols.length > MAX_PROTOCOLS)
    refuse(`protocols must be a list of at most ${MAX_PROTOCOLS} names`);
  const namespaces = await readNamespaces(registration['namespaces'], refuse);
  const service: ApplicationService = {
    id: id as string,
    url,
    asTokenHash,
    hsToken: hsToken as string,
    sender,
    rateLimited: flag(['rate_limited'], false),
    namespaces,
    protocols: protocols as readonly string[],
    receiveEphemeral: flag(EPHEMERAL, false),
    wantsDeviceData: flag(DEVICE_DATA, false),
    managesDevices: flag(DEVICE_MANAGEMENT, false),
    source,
    shown: shownOf(registration),
  };
  if (problems.length > 0) throw new RegistrationProblem(source, problems);
  return service;
}

const shownOf = (registration: Json): Json => {
  const { as_token: _ours, hs_token: _theirs, ...shown } = registration;
  return shown;
};

function readUrl(value: unknown, refuse: (problem: string) => void): string | null {
  if (value === undefined || value === null || value === '') return null;
  const url = typeof value === 'string' ? URL.parse(value) : null;
  if (url !== null && (url.protocol === 'http:' || url.protocol === 'https:') && url.search === '' && url.hash === '')
    return url.href.replace(/\/+$/, '');
  refuse('url must be null, or a URL that begins with http:// or https:// and has no query');
  return null;
}

async function readNamespaces(
  value: unknown,
  refuse: (problem: string) => void,
): Promise<ApplicationService['namespaces']> {
  if (value !== undefined && value !== null && !isMap(value))
    refuse('namespaces must be a map of users, aliases and rooms');
  const map = isMap(value) ? value : {};
  const read: Record<(typeof NAMESPACES)[number], Namespace[]> = { users: [], aliases: [], rooms: [] };
  for (const kind of NAMESPACES) {
    const list = map[kind] ?? [];
    if (!Array.isArray(list) || list.length > MAX_NAMESPACES) {
      refuse(`namespaces.${kind} must be a list of at most ${MAX_NAMESPACES} entries`);
      continue;
    }
    for (const [index, entry] of (list as readonly unknown[]).entries()) {
      const name = `namespaces.${kind}[${index}]`;
      const { exclusive, regex } = isMap(entry) ? entry : {};
      if (typeof exclusive !== 'boolean' || typeof regex !== 'string') {
        refuse(`${name} must have a regex, which is a text, and exclusive, which is true or false`);
        continue;
      }
      try {
        read[kind].push({ exclusive, pattern: await readPattern(regex) });
      } catch (error) {
        refuse(`${name}.regex ${(error as Error).message}`);
      }
    }
  }
  return read;
}
