import { expect } from 'chai';
import type { Metrics } from '#src/kernel/metrics.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemRandom } from '#src/kernel/random.ts';
import type { ComposedRequest } from '#src/remote/federation/federation-request.ts';
import type { FederationResult } from '#src/remote/federation/federation-result.ts';
import { type EduSource, ephemeralEdus } from '#src/services/federation/outbound/edu-source.ts';
import { EduSources } from '#src/services/federation/outbound/edu-sources.ts';
import { type EventsToSend, NO_EVENTS } from '#src/services/federation/outbound/events-to-send.ts';
import { TransactionComposer } from '#src/services/federation/outbound/transaction-composer.ts';
import { type Sending, TransactionDelivery } from '#src/services/federation/outbound/transaction-delivery.ts';
import { ManualClock } from '../../../support/manual-clock.ts';
import { recordingLogger } from '../../../support/recording-logger.ts';

const DESTINATION = 'p.test';

/** Deliveries whose content is read from the database for as long as a test wants; their requests are given up by hand. */
class Deliveries {
  /** Bytes of transactions that are under way. */
  bytes = (): number => NaN;
  /** How often content was read. */
  reads = 0;
  readonly read = Promise.withResolvers<void>();
  readonly #composing: Promise<unknown>[] = [];
  readonly #givingUp = new AbortController();
  readonly #delivery: TransactionDelivery;

  constructor() {
    const metrics: Metrics = { ...noMetrics, gaugeOf: (_name, _help, read) => (this.bytes = read) };
    const logger = recordingLogger([]);
    const source: Partial<EduSource> = {
      has: () => true,
      take: async () => {
        this.reads += 1;
        await this.read.promise;
        return ephemeralEdus([{ edu_type: 'm.typing', content: { typing: true } }], () => {});
      },
    };
    const composer = new TransactionComposer({
      serverName: 'a.test',
      edus: new EduSources([source as EduSource]),
      events: { take: () => Promise.resolve(NO_EVENTS) } as unknown as EventsToSend,
      clock: new ManualClock(),
      random: systemRandom,
      logger,
      metrics,
    });
    this.#delivery = new TransactionDelivery({
      client: { request: (request) => this.#request(request as ComposedRequest) },
      composer,
      logger,
      failuresOf: () => 0,
      sharesRoom: () => Promise.resolve(true),
      away: () => {},
      forget: () => Promise.resolve(),
    });
  }

  /** Ends with the time limit, whatever is still being put together. */
  async #request({ compose, destination }: ComposedRequest): Promise<FederationResult> {
    const { signal } = this.#givingUp;
    this.#composing.push(compose(signal));
    await new Promise((resolve) => {
      signal.addEventListener('abort', resolve);
    });
    return { ok: false, kind: 'timeout', destination, error: `${destination} took too long.` };
  }

  send(sending: Sending, destination = DESTINATION): Promise<unknown> {
    return this.#delivery.send(destination, sending, new AbortController().signal);
  }

  held(): Sending | undefined {
    return this.#delivery.held(DESTINATION);
  }

  giveUp(): void {
    this.#givingUp.abort();
  }

  /** What was put together is there now, and what became of it. */
  composed(): Promise<unknown[]> {
    this.read.resolve();
    return Promise.all(this.#composing);
  }
}

const newSending = (): Sending => ({ position: 1, last: undefined });

describe('a transaction whose attempt is over while it is put together', () => {
  it('holds no bytes afterwards, is not sent, and is not the last attempt', async () => {
    const deliveries = new Deliveries();
    const sending = newSending();
    const sent = deliveries.send(sending);
    while (deliveries.reads === 0) await new Promise(setImmediate);
    expect(deliveries.bytes()).to.be.above(0);
    deliveries.giveUp();
    expect(await sent).to.deep.equal({ kind: 'retry' });
    expect(await deliveries.composed()).to.deep.equal([undefined]);
    expect(deliveries.bytes()).to.equal(0);
    expect([sending.last, deliveries.held()]).to.deep.equal([undefined, undefined]);
  });

  it('reads nothing when its turn comes after that', async () => {
    const deliveries = new Deliveries();
    const sent = Array.from({ length: 40 }, (_, index) => deliveries.send(newSending(), `p${index}.test`));
    while (deliveries.reads < 16) await new Promise(setImmediate);
    deliveries.giveUp();
    await Promise.all(sent);
    expect(await deliveries.composed()).to.deep.equal(Array.from({ length: 40 }, () => undefined));
    expect([deliveries.reads, deliveries.bytes()]).to.deep.equal([16, 0]);
  });
});
