import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { RefusalCounter } from '#src/services/accounts/admission/refusal-counter.ts';
import type { Counter, Histogram, Labels, Metrics } from '#src/kernel/metrics.ts';

const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const RECEIVED: Labels = { direction: 'received' };
const SENT: Labels = { direction: 'sent' };

/** Metrics of all sockets. */
export class SocketMetrics {
  readonly #frames: Counter;
  readonly #pushes: Counter;
  readonly #pauses: Counter;
  readonly #dropped: Counter;
  readonly #seconds: Histogram;
  readonly #refusals: RefusalCounter;

  /**
   * @param open how many sockets are open
   * @param queuedBytes how many bytes wait for all their readers
   */
  constructor(metrics: Metrics, open: () => number, queuedBytes: () => number) {
    metrics.gaugeOf('tsudoi_websocket_open', 'open WebSockets', open);
    metrics.gaugeOf('tsudoi_websocket_queued_bytes', 'bytes that wait for slow readers, over all sockets', queuedBytes);
    this.#frames = metrics.counter('tsudoi_websocket_frames_total', 'frames by direction', ['direction']);
    this.#pushes = metrics.counter('tsudoi_websocket_pushes_total', 'sync frames pushed');
    this.#pauses = metrics.counter('tsudoi_websocket_pauses_total', 'pushes put off because the reader was slow');
    this.#dropped = metrics.counter('tsudoi_websocket_dropped_total', 'sockets closed by the server', ['reason']);
    this.#refusals = new RefusalCounter(metrics, 'websocket');
    this.#seconds = metrics.histogram(
      'tsudoi_websocket_request_seconds',
      'time from a request to its answer',
      BUCKETS_SECONDS,
      ['method', 'errcode'],
    );
  }

  received(): void {
    this.#frames.inc(RECEIVED);
  }
  sent(): void {
    this.#frames.inc(SENT);
  }
  pushed(): void {
    this.#pushes.inc();
  }
  paused(): void {
    this.#pauses.inc();
  }
  dropped(reason: string): void {
    this.#dropped.inc({ reason });
  }
  /** Counts what a limit or a quota refused. */
  refused(error: MatrixError): void {
    this.#refusals.count(error);
  }
  served(method: string, errcode: string, ms: number): void {
    this.#seconds.observe(ms / 1000, { method, errcode });
  }
}
