import type { LogFields, Logger } from '#src/kernel/logger.ts';
import type { Timers } from '#src/kernel/timers.ts';

export const MOST_LINES = 100;
export const WINDOW_MS = 10_000;

export interface LogFloodOptions {
  /** Lines of one kind that are written within `windowMs`; what comes beyond is counted. Default `MOST_LINES`. */
  readonly most?: number;
  /** Milliseconds after which lines are written again, and one says how many were not. Default `WINDOW_MS`. */
  readonly windowMs?: number;
}

/** Limits log lines that clients can cause in any number: of each kind only so many are written in a while, and then how many more there were. */
export class LogFlood {
  readonly #logger: Logger;
  readonly #timers: Timers;
  readonly #most: number;
  readonly #windowMs: number;
  readonly #written = new Map<string, number>();

  constructor(logger: Logger, timers: Timers, options: LogFloodOptions = {}) {
    this.#logger = logger;
    this.#timers = timers;
    this.#most = options.most ?? MOST_LINES;
    this.#windowMs = options.windowMs ?? WINDOW_MS;
  }

  /**
   * Writes a line, or counts it.
   *
   * @param kind one of few: no user, no address is part of it
   */
  write(level: 'info' | 'warn' | 'error', kind: string, message: string, fields: LogFields): void {
    const written = this.#written.get(kind) ?? 0;
    this.#written.set(kind, written + 1);
    if (written === 0) this.#timers.after(this.#windowMs, () => this.#summarise(level, kind, message));
    if (written < this.#most) this.#logger[level](message, fields);
  }

  #summarise(level: 'info' | 'warn' | 'error', kind: string, message: string): void {
    const more = (this.#written.get(kind) ?? 0) - this.#most;
    this.#written.delete(kind);
    if (more > 0) this.#logger[level](`${message}: more of the same`, { kind, more, window_ms: this.#windowMs });
  }
}
