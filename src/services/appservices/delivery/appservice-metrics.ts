import type { Counter, Gauge, Metrics } from '#src/kernel/metrics.ts';
import type { Sent } from '../transactions/transaction.ts';

/** What is measured of the transactions of each application service. */
export class AppserviceMetrics {
  readonly #transactions: Counter;
  readonly #sentEvents: Counter;
  readonly #waiting: Gauge;
  readonly #failing: Gauge;
  readonly #lastSuccess: Gauge;

  constructor(metrics: Metrics) {
    const label = ['appservice'];
    this.#transactions = metrics.counter(
      'tsudoi_appservice_transactions_total',
      'transactions that application services were sent',
      ['appservice', 'outcome'],
    );
    this.#sentEvents = metrics.counter(
      'tsudoi_appservice_events_total',
      'events that arrived at application services',
      label,
    );
    this.#waiting = metrics.gauge('tsudoi_appservice_waiting_events', 'events that wait for a service', label);
    this.#failing = metrics.gauge(
      'tsudoi_appservice_failures',
      'consecutive failed transactions to an application service',
      label,
    );
    this.#lastSuccess = metrics.gauge(
      'tsudoi_appservice_last_success_seconds',
      'time of the last delivered transaction, in seconds since the epoch',
      label,
    );
  }

  /** A transaction was sent. */
  sent(id: string, outcome: Sent['kind']): void {
    this.#transactions.inc({ appservice: id, outcome });
  }

  /** Events arrived. */
  arrived(id: string, events: number): void {
    this.#sentEvents.inc({ appservice: id }, events);
  }

  /** How it stands with a service. @param state `lastSuccess` in milliseconds */
  measure(
    id: string,
    state: { readonly failures: number; readonly lastSuccess: number | null; readonly waiting: number },
  ): void {
    this.#waiting.set(state.waiting, { appservice: id });
    this.#failing.set(state.failures, { appservice: id });
    if (state.lastSuccess !== null) this.#lastSuccess.set(state.lastSuccess / 1_000, { appservice: id });
  }

  /** A service is not registered any more. */
  removed(id: string): void {
    this.#waiting.set(0, { appservice: id });
    this.#failing.set(0, { appservice: id });
  }
}
