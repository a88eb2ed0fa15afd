import { Ongoing } from '#src/kernel/concurrency/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Histogram, Metrics } from '#src/kernel/metrics.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { SpamCheckApi } from '#src/remote/spam-check-api.ts';
import { type Callback, refusalBy } from './callback.ts';
import type { PolicyRefusal } from './policy-refusal.ts';

export interface SpamChecksOptions {
  /** Undefined where no moderation tool is configured. */
  readonly api: Pick<SpamCheckApi, 'ask'> | undefined;
  readonly enabled: readonly Callback[];
  /** Callbacks that are notified without waiting for the answer. */
  readonly background: readonly Callback[];
  /** Callbacks that allow when the tool does not answer. */
  readonly failOpen: readonly Callback[];
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Notifications without an answer that run at the same time: further ones are dropped. */
export const MAX_IN_BACKGROUND = 1_000;
const PING_AGAIN_MS = 5_000;
const PING_ID_LENGTH = 8;

/** Asks a moderation tool before things happen, by the callbacks of `synapse-http-antispam`. Where none is configured nothing is asked. */
export class SpamChecks {
  readonly #options: SpamChecksOptions;
  readonly #enabled: ReadonlySet<Callback>;
  readonly #background: ReadonlySet<Callback>;
  readonly #failOpen: ReadonlySet<Callback>;
  readonly #running = new Ongoing();
  #pinging: Promise<void> | undefined;
  readonly #closing = new AbortController();
  readonly #asked: Counter;
  readonly #seconds: Histogram;

  constructor(options: SpamChecksOptions) {
    this.#options = options;
    const { metrics } = options;
    this.#enabled = new Set(options.api === undefined ? [] : options.enabled);
    this.#background = new Set(options.background);
    this.#failOpen = new Set(options.failOpen);
    this.#asked = metrics.counter(
      'tsudoi_policy_callbacks_total',
      'Requests to the moderation tool of policy.callbacks, by outcome: allowed, refused, silent (no response) or dropped (not sent).',
      ['callback', 'outcome'],
    );
    this.#seconds = metrics.histogram(
      'tsudoi_policy_callback_seconds',
      'How long the moderation tool of policy.callbacks took to answer.',
      SECONDS,
      ['callback'],
    );
  }

  /** Whether a callback is configured: nothing has to be put together for one that is not. */
  isOn(callback: Callback): boolean {
    return this.#enabled.has(callback);
  }

  /** @returns why it must not happen; undefined when it may */
  async ask(callback: Callback, body: JsonObject): Promise<PolicyRefusal | undefined> {
    if (!this.#enabled.has(callback)) return undefined;
    if (!this.#background.has(callback)) return this.#ask(callback, body);
    // The operator chose that nothing depends on its being told: so it is not told again of what happened before a restart.
    if (this.#running.size >= MAX_IN_BACKGROUND) this.#asked.inc({ callback, outcome: 'dropped' });
    else
      this.#running.add(
        undefined,
        this.#ask(callback, body).then(() => undefined),
      );
    return undefined;
  }

  /** @throws PolicyRefusal */
  async assert(callback: Callback, body: JsonObject): Promise<void> {
    const refusal = await this.ask(callback, body);
    if (refusal !== undefined) throw refusal;
  }

  /** Pings until there is an answer, so that the log says whether the tool can be reached. */
  start(): void {
    if (this.#enabled.has('ping')) this.#pinging = this.#pingUntilHeard();
  }

  /** Resolves when all notifications have been sent. */
  idle(): Promise<void> {
    return this.#running.idle();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#pinging;
    await this.#running.idle();
  }

  async #ask(callback: Callback, body: JsonObject): Promise<PolicyRefusal | undefined> {
    const { api, clock, logger } = this.#options;
    if (api === undefined) return undefined;
    const began = clock.monotonic();
    const answer = await api.ask(callback, body);
    this.#seconds.observe((clock.monotonic() - began) / 1000, { callback });
    this.#asked.inc({ callback, outcome: answer.kind });
    if (answer.kind === 'allowed') return undefined;
    if (answer.kind === 'silent') {
      const isOpen = this.#failOpen.has(callback);
      logger.warn('the moderation tool did not answer', { callback, reason: answer.reason, allowed: isOpen });
      if (isOpen) return undefined;
    }
    return refusalBy(answer);
  }

  async #pingUntilHeard(): Promise<void> {
    const { logger, timers } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      if (await this.#ping()) {
        logger.info('the moderation tool answers');
        return;
      }
      await timers.sleep(PING_AGAIN_MS, signal);
    }
  }

  async #ping(): Promise<boolean> {
    const { api, logger, random } = this.#options;
    const id = random.string(PING_ID_LENGTH);
    const answer = await api?.ask('ping', { id });
    if (answer === undefined) return true;
    this.#asked.inc({ callback: 'ping', outcome: answer.kind });
    if (answer.kind === 'allowed' && answer.body['id'] === id && answer.body['status'] === 'ok') return true;
    const reason =
      answer.kind === 'silent' ? answer.reason : answer.kind === 'refused' ? answer.error : 'it says something else';
    logger.warn('the moderation tool does not answer a ping', { reason });
    return false;
  }
}
