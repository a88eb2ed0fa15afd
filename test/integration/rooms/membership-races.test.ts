import { expect } from 'chai';
import fc from 'fast-check';
import { ChildServer } from '#test/support/child-server.ts';
import { ask, must } from '#test/support/http.ts';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

const NAMES = ['bob', 'carol', 'dora'] as const;
const userId = (name: string): string => `@${name}:localhost`;

/** What one request of many does: by the member themselves, or by alice, who made the room. */
const step = fc.record({
  who: fc.constantFrom(...NAMES),
  what: fc.constantFrom('join', 'leave', 'knock', 'forget', 'invite', 'kick', 'ban', 'unban', 'name', 'rule'),
});

const IN_ORDER = ['invite', 'join', 'name', 'kick', 'ban', 'unban', 'knock', 'leave', 'forget'];
/** A name is set by a join. */
const KINDS: Readonly<Record<string, string>> = { name: 'join' };

/** What a request did that led to a member event. */
const kindOf = ({ content: { membership }, sender, state_key: target }: Json, before: Json): string => {
  if (sender === target || membership !== 'leave') return membership as string;
  return before?.content.membership === 'ban' ? 'unban' : 'kick';
};

describe('changes of membership at the same time', function () {
  this.timeout(120_000);
  let server: ChildServer;
  const tokens = new Map<string, string>();

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    for (const name of ['alice', ...NAMES]) {
      const body = { username: name, password: 'a long password', auth: { type: 'm.login.dummy' } };
      tokens.set(name, (await must(server.url, 'POST', '/register', { body })).access_token);
    }
  });
  after(() => server?.dispose());

  const get = (name: string, path: string): Promise<Json> => must(server.url, 'GET', path, { token: tokens.get(name) });

  it('are made one after the other, and everything that is read tells the same of them', async () => {
    let count = 0;
    /** How many changes of each kind there were, in all rooms. */
    const changes = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const wish = { initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }] };
        const { room_id: roomId } = await must(server.url, 'POST', '/createRoom', {
          token: tokens.get('alice'),
          body: wish,
        });
        const since = new Map<string, string>();
        for (const name of NAMES) since.set(name, (await get(name, '/sync?timeout=0')).next_batch);
        const room = `/rooms/${encodeURIComponent(roomId)}`;
        const accepted = new Map<string, number>();
        const run = async ({ who, what }: { who: string; what: string }): Promise<number> => {
          count += 1;
          const isByAlice = ['invite', 'kick', 'ban', 'unban', 'rule'].includes(what);
          const [method, path, body] =
            what === 'name'
              ? ['PUT', `${room}/state/m.room.member/${userId(who)}`, { membership: 'join', displayname: `n${count}` }]
              : what === 'rule'
                ? ['PUT', `${room}/state/m.room.join_rules/`, { join_rule: count % 2 === 0 ? 'public' : 'knock' }]
                : what === 'knock'
                  ? ['POST', `/knock/${encodeURIComponent(roomId)}`, { reason: `r${count}` }]
                  : ['POST', `${room}/${what}`, isByAlice ? { user_id: userId(who) } : {}];
          const { status, body: answer } = await ask(server.url, method as string, path as string, {
            token: tokens.get(isByAlice ? 'alice' : who),
            body,
          });
          expect(status, `${what} ${JSON.stringify(answer)}`).to.be.oneOf([200, 400, 403, 404]);
          const kind = `${KINDS[what] ?? what} ${userId(who)}`;
          if (status === 200) accepted.set(kind, (accepted.get(kind) ?? 0) + 1);
          return status;
        };
        // Alone, each of them is accepted where it is in its place.
        for (const what of IN_ORDER) expect(await run({ who: 'bob', what }), what).to.equal(200);
        await Promise.all(steps.map(run));

        const { chunk } = await get('alice', `${room}/members`);
        const members = new Map<string, string>(
          chunk.map((event: Json) => [event.state_key, event.content.membership]),
        );
        const joined = [...members].flatMap(([user, membership]) => (membership === 'join' ? [user] : []));
        expect(Object.keys((await get('alice', `${room}/joined_members`)).joined)).to.have.members(joined);
        const state = await get('alice', `${room}/state`);
        expect(
          state.flatMap((event: Json) =>
            event.type === 'm.room.member' ? [[event.state_key, event.content.membership]] : [],
          ),
        ).to.have.deep.members([...members]);
        // The history is one chain of changes, each allowed after the one before.
        const history = await get('alice', `${room}/messages?dir=f&limit=1000`);
        const last = new Map<string, Json>();
        for (const event of history.chunk) {
          if (event.type !== 'm.room.member') continue;
          const before = last.get(event.state_key);
          expect(event.unsigned.replaces_state).to.equal(before?.event_id);
          expect(event.unsigned.prev_content).to.deep.equal(before?.content);
          last.set(event.state_key, event);
          if (event.state_key === userId('alice')) continue;
          const kind = kindOf(event, before);
          changes.set(kind, (changes.get(kind) ?? 0) + 1);
          // There is a request for each of them.
          const left = (accepted.get(`${kind} ${event.state_key}`) ?? 0) - 1;
          expect(left, `${kind} ${event.state_key}`).to.be.at.least(0);
          accepted.set(`${kind} ${event.state_key}`, left);
        }
        // And a change for each of the requests that cannot be accepted without one.
        for (const kind of ['kick', 'unban'])
          for (const name of NAMES) expect(accepted.get(`${kind} ${userId(name)}`) ?? 0, kind).to.equal(0);
        expect([...last].map(([user, event]) => [user, event.content.membership])).to.have.deep.members([...members]);
        const summary = await get('alice', `/_matrix/client/v1/room_summary/${encodeURIComponent(roomId)}`);
        expect(summary.num_joined_members).to.equal(joined.length);
        for (const name of NAMES) {
          const membership = members.get(userId(name));
          expect((await get(name, '/joined_rooms')).joined_rooms.includes(roomId)).to.equal(membership === 'join');
          for (const query of ['', `&since=${encodeURIComponent(since.get(name) ?? '')}`]) {
            const { rooms = {} } = await get(name, `/sync?timeout=0${query}`);
            const section = ['join', 'invite', 'knock'].find((one) => rooms[one]?.[roomId] !== undefined);
            expect(section, `${name} ${query}`).to.equal(['join', 'invite', 'knock'].find((one) => one === membership));
          }
        }
        await must(server.url, 'POST', `${room}/leave`, { token: tokens.get('alice'), body: {} });
        for (const name of NAMES) await ask(server.url, 'POST', `${room}/leave`, { token: tokens.get(name), body: {} });
      }),
      { numRuns: 15, endOnFailure: true },
    );
    expect([...changes.keys()]).to.have.members(['ban', 'invite', 'join', 'kick', 'knock', 'leave', 'unban']);
  });
});
