import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { parse, stringify } from 'yaml';
import type { CliPorts } from './ports.ts';
import { asAdministrator, request } from './server-request.ts';

export interface AppserviceOptions {
  /** The file of a registration, in YAML. */
  readonly file: string | undefined;
  readonly id: string | undefined;
  /** Where the service listens. */
  readonly appserviceUrl: string | undefined;
  readonly sender: string | undefined;
  /** Regular expressions of user ids and aliases that it has for itself. */
  readonly users: readonly string[] | undefined;
  readonly aliases: readonly string[] | undefined;
  /** It acts as all users of this server, and is sent nothing. */
  readonly doublePuppet: boolean;
  readonly accessTokenFile: string | undefined;
  readonly url: string | undefined;
}

interface Shown {
  readonly id: string;
  readonly url: string | null;
  readonly sender: string;
  readonly source: string;
}

/** Registers application services on the running server, lists them or takes them away, as an administrator; or writes a new registration. */
export async function appservice(
  ports: CliPorts,
  files: readonly string[],
  what: 'add' | 'list' | 'remove' | 'generate',
  options: AppserviceOptions,
): Promise<number> {
  const wrong = wrongCall(what, options);
  if (wrong !== undefined) {
    ports.err(`${wrong}\n`);
    return 2;
  }
  const config = ports.loadConfig(files);
  if (what === 'generate') {
    ports.out(stringify(newRegistration(options, config.serverName)));
    return 0;
  }
  const registration: unknown = what === 'add' ? parse(await readFile(options.file ?? '', 'utf8')) : undefined;
  const { accessToken, server } = await asAdministrator(ports, config, options);
  const url = `${server}/_tsudoi/admin/v1/appservices`;
  if (what === 'list') {
    const answer = (await request('GET', url, undefined, accessToken)) as { appservices: readonly Shown[] };
    ports.out(answer.appservices.map(lineOf).join('') || 'There are none.\n');
  } else if (what === 'add') {
    ports.out(lineOf((await request('POST', url, registration, accessToken)) as Shown));
  } else {
    await request('DELETE', `${url}/${encodeURIComponent(options.id ?? '')}`, undefined, accessToken);
    ports.out('It is not registered any more.\n');
  }
  return 0;
}

const wrongCall = (what: string, { doublePuppet, file, id, sender }: AppserviceOptions): string | undefined => {
  if (what === 'add' && file === undefined) return 'appservice add needs --file FILE, the registration in YAML.';
  if (what === 'remove' && id === undefined) return 'appservice remove needs --id ID.';
  if (what === 'generate' && (id === undefined || (sender === undefined && !doublePuppet)))
    return 'appservice generate needs --id ID, and --sender NAME or --double-puppet.';
  return undefined;
};

const lineOf = ({ id, sender, source, url }: Shown): string =>
  `${id}  ${sender}, ${url ?? 'is sent nothing'}, registered by ${source === 'database' ? 'an administrator' : source}\n`;

const token = (): string => randomBytes(32).toString('base64url');

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** A registration with tokens of its own, for the server and for the service. */
const newRegistration = (
  { aliases = [], appserviceUrl, doublePuppet, id, sender, users = [] }: AppserviceOptions,
  serverName: string,
): Readonly<Record<string, unknown>> => {
  const exclusive = (regexes: readonly string[]) => regexes.map((regex) => ({ exclusive: true, regex }));
  const everybody = { exclusive: false, regex: `@.*:${escaped(serverName)}` };
  return {
    id,
    url: doublePuppet ? null : (appserviceUrl ?? null),
    as_token: token(),
    hs_token: token(),
    sender_localpart: sender ?? `_${randomBytes(12).toString('hex')}`,
    rate_limited: false,
    namespaces: {
      users: [...exclusive(users), ...(doublePuppet ? [everybody] : [])],
      aliases: exclusive(aliases),
      rooms: [],
    },
  };
};
