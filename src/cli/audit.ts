import { DAY_MS, isoDate } from '#src/kernel/dates.ts';
import type { CliPorts } from './ports.ts';
import { asAdministrator, request } from './server-request.ts';

export interface AuditOptions {
  readonly actor: string | undefined;
  readonly action: string | undefined;
  readonly target: string | undefined;
  readonly room: string | undefined;
  /** Only the last so many days. */
  readonly days: string | undefined;
  /** Entries at most; 100 when left out. */
  readonly limit: string | undefined;
  readonly accessTokenFile: string | undefined;
  readonly url: string | undefined;
}

interface Shown {
  readonly ts: number;
  readonly actor: string | null;
  readonly ip?: string;
  readonly via: string;
  readonly action: string;
  readonly target?: string;
  readonly room_id?: string;
  readonly task_id?: string;
  readonly before?: unknown;
  readonly after?: unknown;
  readonly reason?: string;
}

const PAGE = 500;
const NUMBER = /^[1-9][0-9]{0,8}$/;

/** Shows what administrators did, from the running server, the newest first, as an administrator whose access token is read from a file or asked for. */
export async function audit(ports: CliPorts, files: readonly string[], options: AuditOptions): Promise<number> {
  const { action, actor, days, limit = '100', room, target } = options;
  if (!NUMBER.test(limit) || (days !== undefined && !NUMBER.test(days))) {
    ports.err('--limit and --days take a whole number above 0.\n');
    return 2;
  }
  const config = ports.loadConfig(files);
  const { accessToken, server } = await asAdministrator(ports, config, options);
  const url = `${server}/_tsudoi/admin/v1/audit_log`;
  let from: string | undefined;
  for (let left = Number(limit); left > 0;) {
    const wanted = {
      actor,
      action,
      target,
      room_id: room,
      from_ts: days === undefined ? undefined : String(Math.max(0, ports.now() - Number(days) * DAY_MS)),
      from,
      limit: String(Math.min(left, PAGE)),
    };
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(wanted)) if (value !== undefined) query.set(name, value);
    const page = (await request('GET', `${url}?${query}`, undefined, accessToken)) as {
      readonly entries: readonly Shown[];
      readonly next_batch?: string;
    };
    ports.out(page.entries.map(lineOf).join(''));
    left -= page.entries.length;
    from = page.next_batch;
    if (from === undefined) break;
  }
  return 0;
}

const WHOSE: Readonly<Record<string, string>> = { cli: 'the operator', server: 'the server' };

const lineOf = (entry: Shown): string => {
  const { action, actor, after, before, ip, reason, room_id: room, target, task_id: task, ts, via } = entry;
  const value = (word: string, what: unknown): string =>
    what === undefined ? '' : `  ${word} ${JSON.stringify(what)}`;
  return `${[
    `${isoDate(ts)}  ${printable(actor ?? WHOSE[via] ?? via)}`,
    ip === undefined ? '' : ` from ${printable(ip)}`,
    `  ${action}`,
    [target, room].flatMap((one) => (one === undefined ? [] : [` ${printable(one)}`])).join(''),
    value('before', before),
    value('after', after),
    value('reason', reason),
    task === undefined ? '' : `  task ${task}`,
  ].join('')}\n`;
};

/** Names come from others: no control character of theirs reaches the terminal. JSON escapes those in values by itself. */
const printable = (text: string): string => text.replaceAll(/\p{C}/gu, '\u{FFFD}');
