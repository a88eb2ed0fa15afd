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
  /** Characters of rules that are compared with every place of a URL. */
  readonly wild: number;
  readonly until: number;
}

export const MAX_BYTES = 65_536;
/** Steps that a site's rules may take for one URL: some milliseconds. */
const MAX_STEPS = 4_000_000;

/** What follows a wildcard in a rule is compared with all of the URL. */
const wildIn = (text: string): number =>
  text.split(/[\r\n]/).reduce((sum, line) => sum + (line.includes('*') ? line.length - line.indexOf('*') : 0), 0);

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
    const { robot, wild } = known;
    if (robot === undefined) return true;
    // A site whose rules take too much work gets no preview.
    return wild * url.href.length <= MAX_STEPS && robot.isAllowed(url.href, userAgent) !== false;
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
    let wild = 0;
    if (answer.ok && answer.status >= 200 && answer.status < 300) {
      const { default: parse } = (await import('robots-parser')) as unknown as {
        default: (url: string, text: string) => Robot;
      };
      const text = answer.body.toString('utf8');
      robot = parse(url, text);
      wild = wildIn(text);
    }
    const known = { robot, wild, until: clock.now() + lifetimeMs };
    this.#known.set(origin, known);
    return known;
  }
}
