import { LRUCache } from 'lru-cache';
import type { Robot } from 'robots-parser';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import type { OutboundHttp } from '#src/remote/outbound-http.ts';
import type { UrlRules } from './url-rules.ts';

export interface RobotsRulesOptions {
  readonly outbound: OutboundHttp;
  /** Redirects are followed only to allowed hosts. */
  readonly rules: UrlRules;
  readonly clock: Clock;
  readonly userAgent: string;
  readonly timeoutMs: number;
  /** Milliseconds for which a site's rules are cached. */
  readonly lifetimeMs: number;
}

interface Known {
  /** Undefined: the site has no rules. */
  readonly robot: Robot | undefined;
  /** Steps that its rules take for each character of a URL, at most. */
  readonly steps: number;
  readonly until: number;
}

export const MAX_BYTES = 65_536;
/** Steps that a site's rules may take for one URL: some milliseconds. */
const MAX_STEPS = 4_000_000;

/** Groups that begin with many names of robots are not read: each rule is kept for each name. */
export const MAX_NAMES = 50;
const NAME = /^\s*user-agent\s*:/i;

/** A line for each character of a URL, and what follows a wildcard in a rule as often. */
const stepsOf = (lines: readonly string[]): number =>
  lines.reduce((sum, line) => sum + 1 + (line.includes('*') ? line.length - line.indexOf('*') : 0), 0);

/** The lines of a robots.txt, without names of robots that one more of would be too many in a row, or that stand there already. */
export const linesOf = (text: string): readonly string[] => {
  const lines: string[] = [];
  let names = new Set<string>();
  let isNaming = false;
  for (const line of text.split(/[\r\n]+/)) {
    if (line.trim() === '' || line.trim().startsWith('#')) continue;
    const isName = NAME.test(line);
    if (isName && !isNaming) names = new Set();
    isNaming = isName;
    const name = line.trim().toLowerCase();
    if (isName && (names.has(name) || names.size >= MAX_NAMES)) continue;
    if (isName) names.add(name);
    lines.push(line);
  }
  return lines;
};

/** Asks sites for their robots.txt. RFC 9309. */
export class RobotsRules {
  readonly #options: RobotsRulesOptions;
  readonly #known = new LRUCache<string, Known>(atMost(500));
  readonly #asking = new OnceByKey<string, Known>();

  constructor(options: RobotsRulesOptions) {
    this.#options = options;
  }

  async mayAsk(url: URL): Promise<boolean> {
    const { clock, userAgent } = this.#options;
    const remembered = this.#known.get(url.origin);
    const known =
      remembered !== undefined && remembered.until > clock.now()
        ? remembered
        : await this.#asking.run(url.origin, () => this.#ask(url.origin));
    const { robot, steps } = known;
    if (robot === undefined) return true;
    // A site whose rules take too much work gets no preview.
    return steps * url.href.length <= MAX_STEPS && robot.isAllowed(url.href, userAgent) !== false;
  }

  /** A site that cannot be asked does not answer the other request either. */
  async #ask(origin: string): Promise<Known> {
    const { clock, lifetimeMs, outbound, rules, timeoutMs, userAgent } = this.#options;
    const url = `${origin}/robots.txt`;
    const answer = await outbound.request({
      method: 'GET',
      url,
      headers: { accept: 'text/plain', 'user-agent': userAgent },
      maxBodyBytes: MAX_BYTES,
      overlong: 'cut',
      timeouts: { headersMs: timeoutMs, bodyMs: timeoutMs, totalMs: timeoutMs },
      maxRedirects: 3,
      mayFollow: (next) => rules.mayAsk(next),
      allowHttp: true,
    });
    let robot: Robot | undefined;
    let steps = 0;
    if (answer.ok && answer.status >= 200 && answer.status < 300) {
      const { default: parse } = (await import('robots-parser')) as unknown as {
        default: (url: string, text: string) => Robot;
      };
      const lines = linesOf(answer.body.toString('utf8'));
      robot = parse(url, lines.join('\n'));
      steps = stepsOf(lines);
    }
    const known = { robot, steps, until: clock.now() + lifetimeMs };
    this.#known.set(origin, known);
    return known;
  }
}
