import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import { limiterOf } from '#src/protocol/errors/limit-exceeded.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaOf } from '#src/protocol/errors/quota-full.ts';

/** Counts what an API answers because a limit was exceeded or a quota is full, by the name of the limit or quota. */
export class RefusalCounter {
  readonly #api: string;
  readonly #limited: Counter;
  readonly #full: Counter;

  /** @param api `http`, `websocket` */
  constructor(metrics: Metrics, api: string) {
    this.#api = api;
    const limited = 'requests that were refused because of a limit';
    this.#limited = metrics.counter('tsudoi_limited_requests_total', limited, ['api', 'limiter']);
    const full =
      'requests that were refused because as much as is allowed is kept already, by the key of the configuration or the name of the bound';
    this.#full = metrics.counter('tsudoi_quota_refused_total', full, ['quota']);
  }

  /** Other errors are not counted. */
  count(error: MatrixError): void {
    const limiter = limiterOf(error);
    if (typeof limiter === 'string') this.#limited.inc({ api: this.#api, limiter });
    const quota = quotaOf(error);
    if (quota !== undefined) this.#full.inc({ quota });
  }
}
