import { expect } from 'chai';
import fc from 'fast-check';
import { type Federation, startFederation } from '#test/support/federation.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { roomByIds } from '#test/support/second-server.ts';

/** Longer runs by hand: FEDERATION_RUNS=50. */
// oxlint-disable-next-line no-process-env -- how long it runs is for whoever runs it
const RUNS = Number(process.env['FEDERATION_RUNS'] ?? 3);
const NAMES = ['a.test', 'b.test', 'c.test'] as const;
const USERS = { 'a.test': 'alice', 'b.test': 'bob', 'c.test': 'carol' } as const;

const step = fc.oneof(
  { weight: 1, arbitrary: fc.record({ cut: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ heal: fc.nat(2) }) },
  {
    weight: 5,
    arbitrary: fc.record({
      who: fc.nat(2),
      what: fc.constantFrom('say', 'say', 'topic', 'rename', 'levels'),
      value: fc.nat(9),
    }),
  },
);

describe('servers that were parted', function () {
  this.timeout(120_000);
  let federation: Federation;
  let rooms = 0;

  before(async () => {
    federation = await startFederation(NAMES);
  });
  after(() => federation.stop());

  const serverOf = (index: number): InProcessServer => federation.server(NAMES[index % 3]!);
  const pairOf = (index: number): [string, string] => [NAMES[index % 3]!, NAMES[(index + 1) % 3]!];

  /** What somebody does; what the rules refuse stays undone. */
  const act = async (
    roomId: string,
    { what, value, who }: { who: number; what: string; value: number },
  ): Promise<void> => {
    const server = serverOf(who);
    const user = USERS[NAMES[who % 3]!];
    const path = `/rooms/${encodeURIComponent(roomId)}`;
    if (what === 'say') await server.say(user, roomId, `${value}`);
    else if (what === 'topic')
      await server.ask(user, 'PUT', `${path}/state/m.room.topic`, { topic: `${user} ${value}` });
    else if (what === 'rename') {
      const userId = `@${user}:${server.serverName}`;
      const member = { membership: 'join', displayname: `${user} ${value}` };
      await server.ask(user, 'PUT', `${path}/state/m.room.member/${encodeURIComponent(userId)}`, member);
    } else {
      const levels = await server.must(user, 'GET', `${path}/state/m.room.power_levels`);
      const users = { ...levels.users, '@bob:b.test': 50 + value, '@carol:c.test': 90 - value };
      await server.ask(user, 'PUT', `${path}/state/m.room.power_levels`, { ...levels, users });
    }
  };

  it('come to the same room, event by event, whatever was done meanwhile', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 14 }), async (steps) => {
        const a = federation.server('a.test');
        const power = { users: { '@bob:b.test': 60, '@carol:c.test': 60 }, state_default: 50 };
        const roomId = await a.room('alice', {
          preset: 'public_chat',
          creation_content: { n: (rooms += 1) },
          power_level_content_override: power,
        });
        for (const name of ['b.test', 'c.test'] as const)
          await federation
            .server(name)
            .must(USERS[name], 'POST', `/join/${encodeURIComponent(roomId)}?server_name=a.test`, {});
        await federation.idle();
        for (const one of steps) {
          if ('cut' in one) federation.cut(...pairOf(one.cut));
          else if ('heal' in one) federation.heal(...pairOf(one.heal));
          else await act(roomId, one);
          await federation.idle();
        }
        for (const pair of [0, 1, 2]) federation.heal(...pairOf(pair));
        // Once more by everybody: what was missed is asked for then, if it is not sent anyway.
        for (const round of [0, 1]) {
          for (let tries = 0; tries < 4; tries++) {
            await federation.clock.advance(3_600_000);
            await federation.idle();
          }
          for (const who of [0, 1, 2]) {
            await act(roomId, { who, what: 'say', value: round });
            await federation.idle();
          }
        }
        const portraits = await Promise.all(
          NAMES.map(async (name) => {
            const { services } = federation.server(name);
            return roomByIds(services, (await services.rooms.byId(roomId))!);
          }),
        );
        expect(portraits[1], 'b as a').to.deep.equal(portraits[0]);
        expect(portraits[2], 'c as a').to.deep.equal(portraits[0]);
      }),
      { numRuns: RUNS, endOnFailure: true, interruptAfterTimeLimit: 60_000 },
    );
  });
});
