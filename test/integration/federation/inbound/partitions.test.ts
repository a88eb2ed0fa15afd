import { expect } from 'chai';
import fc from 'fast-check';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { Answer, InProcessServer, Json } from '#test/support/in-process-server.ts';
import { eventsOf, roomByIds } from '#test/support/federation/second-server.ts';

/** Longer runs by hand: FEDERATION_RUNS=200 FEDERATION_MINUTES=60, and FEDERATION_SEED with FEDERATION_PATH for one that failed. */
// oxlint-disable-next-line no-process-env -- how long it runs is for whoever runs it
const {
  FEDERATION_RUNS: RUNS = '2',
  FEDERATION_MINUTES: MINUTES,
  FEDERATION_SEED: SEED,
  FEDERATION_PATH: PATH,
} = process.env;
const NAMES = ['a.test', 'b.test', 'c.test'] as const;
/** Who stays in the room, whatever happens. */
const STAYING = ['alice', 'bob', 'carol'] as const;
/** Who comes and goes, and is sent away. */
const PASSING = ['ann', 'ben', 'cat'] as const;
const VERSIONS = ['6', '10', '11', '12'] as const;

const WHAT = [
  ...['say', 'say', 'say', 'secret', 'topic', 'topic', 'rename', 'levels', 'rules', 'redact'],
  ...['come', 'come', 'go', 'invite', 'invite', 'kick', 'ban', 'ban', 'unban'],
] as const;
const act = fc.record({ who: fc.nat(2), target: fc.nat(2), what: fc.constantFrom(...WHAT), value: fc.nat(9) });
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never;

const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ cut: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ heal: fc.nat(2) }) },
  { weight: 5, arbitrary: fc.record({ acts: fc.array(act, { minLength: 1, maxLength: 1 }) }) },
  // At the same time, by users of several servers.
  { weight: 3, arbitrary: fc.record({ acts: fc.array(act, { minLength: 2, maxLength: 4 }) }) },
  // One of the servers is killed while these are on their way.
  {
    weight: 3,
    arbitrary: fc.record({
      kill: fc.nat(2),
      afterTurns: fc.nat({ max: 120 }),
      acts: fc.array(act, { minLength: 0, maxLength: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ revive: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ passMs: fc.constantFrom(1_000, 20_000, 300_000, 3_600_000) }) },
);

/** What came of one history: what was acknowledged to whoever did it. */
interface Done {
  readonly roomId: string;
  readonly eventIds: string[];
  /** By who was sent them. */
  readonly secrets: Map<string, string[]>;
}

describe('servers that were parted or killed', function () {
  this.timeout(Number(MINUTES ?? 5) * 60_000 + 180_000);
  let federation: Federation;
  let count = 0;
  const down = new Set<InProcessServer>();

  before(async () => {
    federation = await startFederation(NAMES);
  });
  after(() => federation.stop());

  const serverOf = (index: number): InProcessServer => federation.server(NAMES[index % 3]!);
  const pairOf = (index: number): [string, string] => [NAMES[index % 3]!, NAMES[(index + 1) % 3]!];
  const idOf = (names: readonly string[], index: number): string => `@${names[index]!}:${NAMES[index]!}`;

  /** Asks a server that may be killed meanwhile. @returns undefined if it was, or is */
  const tryAsking = async (...[index, ...args]: [number, string, string, string, unknown]) => {
    const server = serverOf(index);
    if (down.has(server)) return undefined;
    return server.ask(...args).catch((error: unknown): undefined => {
      if (!down.has(server)) throw error;
    });
  };

  /** What somebody does; what the rules or the network refuse stays undone. */
  const perform = async (done: Done, { target, value, what, who }: Act): Promise<void> => {
    const user = STAYING[who]!;
    const guest = PASSING[who]!;
    const path = `/rooms/${encodeURIComponent(done.roomId)}`;
    const memberPath = (userId: string): string => `${path}/state/m.room.member/${encodeURIComponent(userId)}`;
    const about = { user_id: idOf(PASSING, target) };
    const transaction = `history${(count += 1)}`;
    const doIt = async (): Promise<Answer | undefined> => {
      switch (what) {
        case 'say':
          return tryAsking(who, user, 'PUT', `${path}/send/m.room.message/${transaction}`, {
            msgtype: 'm.text',
            body: transaction,
          });
        case 'redact': {
          const eventId = done.eventIds.at(-1 - value);
          if (eventId === undefined) return undefined;
          // Nobody redacts what they have not seen.
          const seen = await tryAsking(who, user, 'GET', `${path}/event/${encodeURIComponent(eventId)}`, undefined);
          return seen?.status === 200
            ? tryAsking(who, user, 'PUT', `${path}/redact/${encodeURIComponent(eventId)}/${transaction}`, {})
            : undefined;
        }
        case 'topic':
          return tryAsking(who, user, 'PUT', `${path}/state/m.room.topic`, { topic: transaction });
        case 'rules':
          return tryAsking(who, user, 'PUT', `${path}/state/m.room.join_rules`, {
            join_rule: value < 6 ? 'public' : 'invite',
          });
        case 'rename':
          return tryAsking(who, user, 'PUT', memberPath(idOf(STAYING, who)), {
            membership: 'join',
            displayname: transaction,
          });
        case 'levels': {
          const levels = await tryAsking(who, user, 'GET', `${path}/state/m.room.power_levels`, undefined);
          const users = { [idOf(STAYING, 1)]: 50 + value, [idOf(STAYING, 2)]: 90 - value };
          const content = { ...levels?.body, users: { ...levels?.body.users, ...users } };
          return tryAsking(who, user, 'PUT', `${path}/state/m.room.power_levels`, content);
        }
        case 'come':
          return tryAsking(who, guest, 'POST', `${path}/join`, {});
        case 'go':
          return tryAsking(who, guest, 'POST', `${path}/leave`, {});
        case 'secret': {
          const to = idOf(STAYING, target);
          const sent = await tryAsking(who, user, 'PUT', `/sendToDevice/org.test.secret/${transaction}`, {
            messages: { [to]: { DEVICE: { secret: transaction } } },
          });
          if (sent?.status === 200) done.secrets.get(STAYING[target]!)!.push(transaction);
          return undefined;
        }
        case 'invite':
        case 'kick':
        case 'ban':
        case 'unban':
          return tryAsking(who, user, 'POST', `${path}/${what}`, about);
      }
    };
    const eventId: unknown = (await doIt())?.body.event_id;
    if (typeof eventId === 'string') done.eventIds.push(eventId);
  };

  const performAll = (done: Done, acts: readonly Act[]): Promise<unknown> =>
    Promise.all(acts.map((one) => perform(done, one)));

  /** Has them do all this, and kills one of the servers after so many turns of the loop. */
  const performUntilKilled = async (done: Done, server: InProcessServer, turns: number, acts: readonly Act[]) => {
    const all = performAll(done, acts);
    const death = (async () => {
      for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => void setImmediate(resolve));
      if (down.has(server)) return;
      down.add(server);
      await server.kill();
    })();
    await Promise.all([all, death]);
  };

  const revive = async (server: InProcessServer): Promise<void> => {
    if (!down.delete(server)) return;
    await server.revive();
  };

  /** A room in which all who stay are. */
  const begin = async (version: string): Promise<Done> => {
    const roomId = await serverOf(0).room('alice', {
      preset: 'public_chat',
      room_version: version,
      creation_content: { n: (count += 1) },
      power_level_content_override: {
        users: {
          ...(version === '12' ? {} : { [idOf(STAYING, 0)]: 100 }),
          [idOf(STAYING, 1)]: 60,
          [idOf(STAYING, 2)]: 60,
        },
        state_default: 50,
      },
    });
    for (const index of [0, 1, 2]) {
      const path = `/join/${encodeURIComponent(roomId)}?server_name=a.test`;
      await serverOf(index).must(STAYING[index]!, 'POST', path, {});
      await serverOf(index).account(PASSING[index]!);
    }
    await federation.idle();
    return { roomId, eventIds: [], secrets: new Map(STAYING.map((name) => [name, []])) };
  };

  /** Everything works again, and time goes by: hours, and everybody says something in between. */
  const settle = async (done: Done): Promise<void> => {
    for (const index of [0, 1, 2]) {
      federation.heal(...pairOf(index));
      await revive(serverOf(index));
    }
    for (const round of [0, 1]) {
      for (let tries = 0; tries < 4; tries++) {
        await federation.idle();
        await federation.clock.advance(3_600_000);
        await federation.idle();
      }
      for (const who of [0, 1, 2]) {
        await perform(done, { who, what: 'say', target: 0, value: round });
        await federation.idle();
        // What goes to others is gathered for a moment.
        await federation.clock.advance(1_000);
        await federation.idle();
      }
    }
  };

  /** The room as one of the servers has it. */
  const portrait = async (server: InProcessServer, roomId: string) => {
    const { services } = server;
    const room = (await services.rooms.byId(roomId))!;
    const { state, extremities, members } = await roomByIds(services, room);
    // Whose join a resolution took back has left for those servers only that had seen them there.
    return { state, extremities, members: Object.entries(members).filter(([, one]) => one !== 'leave') };
  };

  /** Ids of the events that it has: all that it accepted, those of them that it shows, and what it rejected. */
  const idsOf = async (server: InProcessServer, roomId: string) => {
    const { services } = server;
    const known = await eventsOf(services, (await services.rooms.byId(roomId))!);
    const those = (mask: number, wanted: number): string[] =>
      known.filter(({ flags }) => (flags & mask) === wanted).map(({ event }) => event.eventId);
    const { rejected, softFailed } = EVENT_FLAGS;
    return {
      accepted: those(rejected, 0),
      shown: those(rejected | softFailed, 0),
      rejected: those(rejected, rejected),
    };
  };

  /** Events as a client of the server is told them, without what differs from one reader to the next. */
  const told = async (index: number, roomId: string, eventIds: readonly string[]) => {
    const all: { status: number; event: Json }[] = [];
    for (const eventId of eventIds) {
      const path = `/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(eventId)}`;
      const { body, status } = await serverOf(index).ask(STAYING[index]!, 'GET', path);
      const { unsigned: _unsigned, ...event } = body as Json;
      all.push({ status, event });
    }
    return all;
  };

  /** Everything that a client of the server sees when it reads the room back to its beginning. */
  const readBack = async (index: number, roomId: string): Promise<string[]> => {
    const ids: string[] = [];
    for (let from: string | undefined; ;) {
      const query = `dir=b&limit=50${from === undefined ? '' : `&from=${from}`}`;
      const path = `/rooms/${encodeURIComponent(roomId)}/messages?${query}`;
      const page = await serverOf(index).must(STAYING[index]!, 'GET', path);
      ids.push(...page.chunk.map((event: Json) => event.event_id));
      if (page.end === undefined) return ids;
      from = page.end;
    }
  };

  const secretsFor = async (index: number): Promise<string[]> => {
    const secrets: string[] = [];
    for (let since = ''; ;) {
      const { to_device: toDevice, next_batch: next } = await serverOf(index).must(
        STAYING[index]!,
        'GET',
        `/sync?timeout=0${since}`,
      );
      const events: readonly Json[] = toDevice?.events ?? [];
      secrets.push(...events.map((event) => event.content.secret));
      since = `&since=${next}`;
      if (events.length === 0) return secrets;
    }
  };

  /** Holds against each other what the three servers have. */
  const compare = async (done: Done): Promise<void> => {
    const { roomId } = done;
    const portraits = [];
    const ids = [];
    for (const index of [0, 1, 2]) {
      portraits.push(await portrait(serverOf(index), roomId));
      ids.push(await idsOf(serverOf(index), roomId));
    }
    expect(portraits[1], 'b as a').to.deep.equal(portraits[0]);
    expect(portraits[2], 'c as a').to.deep.equal(portraits[0]);
    expect(portraits[0]!.extremities, 'the branches are one').to.have.length(1);
    for (const [index, { accepted, rejected }] of ids.entries()) {
      expect(accepted, `what was acknowledged, on ${NAMES[index]}`).to.include.members(done.eventIds);
      // What one of them soft-failed the others need not have.
      for (const { shown } of ids) expect(accepted, `what others show, on ${NAMES[index]}`).to.include.members(shown);
      for (const { accepted: others } of ids) expect(others).not.to.include.oneOf(['', ...rejected]);
    }
    const { accepted } = ids[0]!;
    const shown = await told(0, roomId, accepted);
    for (const index of [1, 2]) {
      const there = await told(index, roomId, accepted);
      for (const [i, event] of there.entries()) {
        // What one of them soft-failed it does not show.
        if (event.status !== 200 || shown[i]!.status !== 200) continue;
        expect(event, `${NAMES[index]} tells what a.test tells: ${JSON.stringify([event, shown[i]])}`).to.deep.equal(
          shown[i],
        );
      }
    }
  };

  it('come to the same room, event by event, whatever was done meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...VERSIONS),
        fc.array(step, { minLength: 6, maxLength: 18 }),
        async (version, steps) => {
          const done = await begin(version);
          for (const one of steps) {
            if ('cut' in one) federation.cut(...pairOf(one.cut));
            else if ('heal' in one) federation.heal(...pairOf(one.heal));
            else if ('revive' in one) await revive(serverOf(one.revive));
            else if ('passMs' in one) await federation.clock.advance(one.passMs);
            else if ('kill' in one) await performUntilKilled(done, serverOf(one.kill), one.afterTurns, one.acts);
            else await performAll(done, one.acts);
            await federation.idle();
          }
          await settle(done);
          for (const [index, name] of STAYING.entries()) {
            const secrets = await secretsFor(index);
            expect(secrets, `each once, for ${name}`).to.have.same.members([...new Set(secrets)]);
            expect(secrets, `for ${name}`).to.include.members(done.secrets.get(name)!);
            // Has what was before the join fetched.
            const back = await readBack(index, done.roomId);
            expect(back, `each once, to ${name}`).to.have.same.members([...new Set(back)]);
            await federation.idle();
          }
          await compare(done);
        },
      ),
      {
        numRuns: Number(RUNS),
        endOnFailure: true,
        ...(MINUTES === undefined ? {} : { interruptAfterTimeLimit: Number(MINUTES) * 60_000 }),
        ...(SEED === undefined ? {} : { seed: Number(SEED) }),
        ...(PATH === undefined ? {} : { path: PATH }),
      },
    );
  });
});
