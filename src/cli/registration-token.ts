import type { CliPorts } from './ports.ts';
import { asAdministrator, request } from './server-request.ts';
import { DAY_MS } from '#src/kernel/dates.ts';

export interface RegistrationTokenOptions {
  /** How many accounts it is good for, and for how many days; any number and for ever when left out. */
  readonly uses: string | undefined;
  readonly days: string | undefined;
  /** The token itself; made up when left out. */
  readonly token: string | undefined;
  readonly accessTokenFile: string | undefined;
  readonly url: string | undefined;
}

/** Makes, lists or deletes registration tokens on the running server, as an administrator whose access token is read from a file or asked for. */
export async function registrationToken(
  ports: CliPorts,
  files: readonly string[],
  what: 'create' | 'list' | 'delete',
  options: RegistrationTokenOptions,
): Promise<number> {
  const { days, token, uses } = options;
  if ([days, uses].some((count) => count !== undefined && !/^[1-9][0-9]{0,8}$/.test(count))) {
    ports.err('--uses and --days take a whole number above 0.\n');
    return 2;
  }
  if (what === 'delete' && token === undefined) {
    ports.err('registration-token delete needs --token TOKEN.\n');
    return 2;
  }
  const config = ports.loadConfig(files);
  const { accessToken, server } = await asAdministrator(ports, config, options);
  const url = `${server}/_synapse/admin/v1/registration_tokens`;
  if (what === 'list') {
    const answer = (await request('GET', url, undefined, accessToken)) as { registration_tokens: readonly Shown[] };
    ports.out(answer.registration_tokens.map((one) => lineOf(one, ports.now())).join('') || 'There are none.\n');
  } else if (what === 'delete') {
    await request('DELETE', `${url}/${encodeURIComponent(token ?? '')}`, undefined, accessToken);
    ports.out('It is deleted.\n');
  } else {
    const params = {
      ...(token === undefined ? {} : { token }),
      ...(uses === undefined ? {} : { uses_allowed: Number(uses) }),
      ...(days === undefined ? {} : { expiry_time: ports.now() + Number(days) * DAY_MS }),
    };
    ports.out(lineOf((await request('POST', `${url}/new`, params, accessToken)) as Shown, ports.now()));
  }
  return 0;
}

interface Shown {
  readonly token: string;
  readonly uses_allowed: number | null;
  readonly completed: number;
  readonly expiry_time: number | null;
}

const lineOf = ({ completed, expiry_time: expiry, token, uses_allowed: uses }: Shown, now: number): string => {
  const days = expiry === null ? undefined : Math.ceil((expiry - now) / DAY_MS);
  const end = days === undefined ? 'never expires' : days > 0 ? `expires within ${days} days` : 'has expired';
  return `${token}  used ${completed} of ${uses ?? 'any number of'} times, ${end}\n`;
};
