import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { AnswerBytes } from '#src/remote/federation/answer-bytes.ts';
import type { FederationRequest } from '#src/remote/federation/federation-request.ts';
import type { FederationResult } from '#src/remote/federation/federation-result.ts';
import { UserKeysApi } from '#src/remote/federation/user-keys-api.ts';
import { type KeyQuestions, RemoteKeys, REQUESTS_AT_ONCE } from '#src/services/e2ee/device-keys/remote-keys.ts';
import { ManualClock } from '../../../support/manual-clock.ts';

const TIMEOUT_MS = 10_000;
const silentOnes = (count: number): string[] => Array.from({ length: count }, (_, index) => `silent${index}.test`);

/** Other servers: those whose names begin with `silent` never answer. */
class Servers {
  readonly asked: string[] = [];
  readonly clock = new ManualClock();
  readonly #answers = new AnswerBytes(noMetrics);
  readonly keys = new RemoteKeys({
    api: new UserKeysApi({ request: (request) => this.#request(request as FederationRequest) }),
    client: { hold: (most) => this.#answers.open(most) },
    timers: this.clock,
  });

  #request({ destination, signal }: FederationRequest): Promise<FederationResult> {
    this.asked.push(destination);
    if (!destination.startsWith('silent')) return Promise.resolve({ ok: true, body: {} });
    return new Promise((resolve) => {
      signal?.addEventListener('abort', () =>
        resolve({ ok: false, kind: 'unreachable', destination, error: 'The request was given up.' }),
      );
    });
  }

  /** Asks servers, in this order, and says how each question ended, while so much time passes. */
  async outcomes(names: readonly string[], ms: number, signal?: AbortSignal): Promise<string[]> {
    const asking = this.keys.ask(TIMEOUT_MS, signal, (questions) =>
      Promise.all(names.map((name) => this.outcome(questions, name))),
    );
    await this.clock.runDueUntil(this.clock.advance(ms));
    return asking;
  }

  outcome(questions: KeyQuestions, name: string): Promise<string> {
    return questions.query(name, { [`@x:${name}`]: [] }).then(
      () => 'answered',
      ({ errcode }: { errcode: string }) => errcode,
    );
  }
}

describe("questions for keys of other servers' users", () => {
  it('come to a server that answers, though seventeen that are silent stand before it', async () => {
    const outcomes = await new Servers().outcomes([...silentOnes(17), 'quick.test'], TIMEOUT_MS);
    expect(outcomes.at(-1)).to.equal('answered');
    expect(new Set(outcomes.slice(0, -1))).to.deep.equal(new Set(['M_CONNECTION_TIMEOUT']));
  });

  it('of one user wait for others of theirs, in their own time; those of another user do not', async () => {
    const servers = new Servers();
    const as = (party: string, name: string, ms = TIMEOUT_MS): Promise<string> => {
      const work = new Work('request');
      work.party = () => party;
      return doing(work, () => servers.keys.ask(ms, undefined, (questions) => servers.outcome(questions, name)));
    };
    const first = Array.from({ length: REQUESTS_AT_ONCE }, (_, index) => as('alice', `silent${index}.test`, 5_000));
    const waiting = as('alice', 'quick.test');
    const impatient = as('alice', 'quick.test', 1_000);
    expect(await as('bob', 'quick.test')).to.equal('answered');
    expect(servers.asked).to.deep.equal([...first.map((_, index) => `silent${index}.test`), 'quick.test']);
    await servers.clock.runDueUntil(servers.clock.advance(1_000));
    expect(await impatient).to.equal('M_CONNECTION_TIMEOUT');
    await servers.clock.runDueUntil(servers.clock.advance(4_000));
    expect(await Promise.all(first)).to.deep.equal(first.map(() => 'M_CONNECTION_TIMEOUT'));
    expect(await waiting).to.equal('answered');
  });

  it('end when nobody waits for them any more, and no further server is asked', async () => {
    const servers = new Servers();
    const client = new AbortController();
    const asking = servers.outcomes([...silentOnes(40), 'quick.test'], 0, client.signal);
    await setImmediate();
    const asked = servers.asked.length;
    expect(asked).to.be.greaterThan(0).and.below(40);
    client.abort();
    expect(new Set(await asking)).to.deep.equal(new Set(['M_CONNECTION_TIMEOUT']));
    expect(servers.asked).to.have.lengthOf(asked);
  });

  it('do not wait again for servers that were silent the last time', async () => {
    const servers = new Servers();
    await servers.outcomes(silentOnes(40), TIMEOUT_MS);
    servers.asked.length = 0;
    const asking = servers.outcomes([...silentOnes(40), 'quick.test'], TIMEOUT_MS);
    await setImmediate();
    expect(servers.asked).to.include('quick.test').and.to.have.lengthOf(17);
    expect((await asking).at(-1)).to.equal('answered');
  });
});
