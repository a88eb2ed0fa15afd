import { expect } from 'chai';
import fc from 'fast-check';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

const UNSTABLE = '/unstable/org.matrix.msc4140';

type Step =
  | { readonly kind: 'schedule'; readonly delay: number; readonly isState: boolean }
  | { readonly kind: 'restart' | 'cancel' | 'send'; readonly which: number; readonly withToken: boolean }
  | { readonly kind: 'wait'; readonly ms: number }
  | { readonly kind: 'reboot' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('schedule' as const),
      delay: fc.integer({ min: 1, max: 10_000 }),
      isState: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom('restart' as const, 'restart' as const, 'cancel' as const, 'send' as const),
      which: fc.nat(),
      withToken: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.integer({ min: 0, max: 6_000 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('reboot' as const) }) },
);

/** What a delayed event has to be. */
interface Expected {
  readonly id: string;
  readonly name: string;
  readonly delay: number;
  readonly isState: boolean;
  since: number;
  outcome: 'scheduled' | 'sent' | 'cancelled';
}

describe('delayed events under any sequence of requests, waits and restarts of the server', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  let runs = 0;

  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server.stop());

  const settled = async (due: readonly Expected[]): Promise<void> => {
    const isOver = async (id: string): Promise<boolean> =>
      (await server.must('alice', 'GET', `${UNSTABLE}/delayed_events/${id}`)).finalised_ts !== undefined;
    for (const { id } of due) {
      for (let looks = 0; !(await isOver(id)); looks++) {
        if (looks > 100) throw new Error('a delayed event was not sent');
        // Between two looks it pauses.
        await server.clock.advance(60);
        await server.idle();
      }
    }
  };

  it('are each sent once, in order, unless they were cancelled', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
        const room = await server.room('alice', {});
        const events: Expected[] = [];
        const order: string[] = [];
        const fire = async (): Promise<void> => {
          for (;;) {
            const now = server.clock.now();
            const due = events.filter(({ outcome, since, delay }) => outcome === 'scheduled' && since + delay <= now);
            if (due.length === 0) return;
            due.sort((a, b) => a.since + a.delay - b.since - b.delay || (a.id < b.id ? -1 : 1));
            await settled(due);
            for (const event of due) {
              event.outcome = 'sent';
              order.push(event.name);
            }
          }
        };
        runs += 1;
        for (const [index, what] of steps.entries()) {
          if (what.kind === 'wait') {
            // Bit by bit: what the model takes for one moment has to be one for the server, too.
            await server.clock.advance(what.ms);
          } else if (what.kind === 'reboot') {
            await server.restart();
          } else if (what.kind === 'schedule') {
            const name = `${runs}-${index}`;
            const path = `${UNSTABLE}/rooms/${room}/delayed_event/${what.isState ? 'org.test.state' : 'm.room.message'}/${name}`;
            const since = server.clock.now();
            const { delay_id: id } = await server.must('alice', 'PUT', path, {
              delay_ms: what.delay,
              content: { msgtype: 'm.text', body: name },
              ...(what.isState ? { state_key: name } : {}),
            });
            events.push({ id, name, delay: what.delay, isState: what.isState, since, outcome: 'scheduled' });
          } else if (events.length > 0) {
            const event = events[what.which % events.length] as Expected;
            const path = `${UNSTABLE}/delayed_events/${event.id}/${what.kind}`;
            const { status } = await server.ask(what.withToken ? 'alice' : undefined, 'POST', path);
            const fits =
              event.outcome === 'scheduled' ||
              (event.outcome === 'sent' && what.kind === 'send') ||
              (event.outcome === 'cancelled' && what.kind === 'cancel');
            expect(status).to.equal(fits ? 200 : 409);
            if (event.outcome === 'scheduled') {
              if (what.kind === 'restart') event.since = server.clock.now();
              else if (what.kind === 'cancel') event.outcome = 'cancelled';
              else {
                event.outcome = 'sent';
                order.push(event.name);
              }
            }
          }
          await fire();
        }
        const waiting = events.filter(({ outcome }) => outcome === 'scheduled');
        waiting.sort((a, b) => a.since + a.delay - b.since - b.delay || (a.id < b.id ? -1 : 1));
        const listed: Json[] = (await server.must('alice', 'GET', `${UNSTABLE}/delayed_events`)).delayed_events;
        expect(listed.filter((event) => event.room_id === room).map((event) => event.delay_id)).to.deep.equal(
          waiting.map(({ id }) => id),
        );
        await server.clock.advance(30_000);
        await fire();
        const page = await server.must('alice', 'GET', `/rooms/${room}/messages?dir=f&limit=100`);
        const seen = page.chunk
          .filter((event: Json) => event.type === 'm.room.message' || event.type === 'org.test.state')
          .map((event: Json) => event.content.body);
        expect(seen).to.deep.equal(order);
        for (const { id, outcome } of events) {
          const { event_id: eventId } = await server.must('alice', 'GET', `${UNSTABLE}/delayed_events/${id}`);
          expect(eventId !== undefined).to.equal(outcome === 'sent');
        }
      }),
      { numRuns: 25 },
    );
  });
});
