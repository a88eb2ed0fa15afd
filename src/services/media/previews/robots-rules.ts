import { LRUCache } from 'lru-cache';
import type { Robot } from 'robots-parser';
import { atMost } from '#src/kernel/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { OnceByKey } from '#src/kernel/once.ts';
import type { OutboundHttp } from '#src/remote/outbound-http.ts';

export interface RobotsRulesOptions {
  readonly outbound: OutboundHttp;
  readonly clock: Clock;
  readonly userAgent: string;
  readonly timeoutMs: number;
  /** Milliseconds for which what a site says is believed. */
  readonly lifetimeMs: number;
}

interface Known {
  /** Undefined: the site has nothing to say. */
  readonly robot: Robot | undefined;
  readonly until: number;
}

const MAX_BYTES = 65_536;

/** Asks sites whether they mind being looked at by programs. RFC 9309. */
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
    return known.robot?.isAllowed(url.href, userAgent) !== false;
  }

  /** A site that cannot be asked does not answer the other request either. */
  async #ask(origin: string): Promise<Known> {
    const { clock, lifetimeMs, outbound, timeoutMs, userAgent } = this.#options;
    const url = `${origin}/robots.txt`;
    const answer = await outbound.request({
      method: 'GET',
      url,
      headers: { accept: 'text/plain', 'user-agent': userAgent },
      maxBodyBytes: MAX_BYTES,
      overlong: 'cut',
      timeouts: { headersMs: timeoutMs, bodyMs: timeoutMs, totalMs: timeoutMs },
      maxRedirects: 3,
      allowHttp: true,
    });
    let robot: Robot | undefined;
    if (answer.ok && answer.status >= 200 && answer.status < 300) {
      const { default: parse } = (await import('robots-parser')) as unknown as {
        default: (url: string, text: string) => Robot;
      };
      robot = parse(url, answer.body.toString('utf8'));
    }
    const known = { robot, until: clock.now() + lifetimeMs };
    this.#known.set(origin, known);
    return known;
  }
}
