import { expect } from 'chai';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '../../../support/in-process-server.ts';
import type { PartnerRoute, RemotePartner } from '#test/support/federation/remote-partner.ts';

const DIRECTORY = '/_matrix/federation/v1/query/directory';
const PUBLIC_ROOMS = '/_matrix/federation/v1/publicRooms';

describe('rooms of other servers', function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  let partner: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], { partners: ['p.test'] });
    a = federation.server('a.test');
    b = federation.server('b.test');
    partner = federation.partner('p.test');
  });
  after(() => federation?.stop());

  describe('by their aliases', () => {
    const find = (alias: string) => a.ask(undefined, 'GET', `/directory/room/${encodeURIComponent(alias)}`);
    const leading = (route: PartnerRoute): void => partner.on('GET', DIRECTORY, route);

    it('are found through the server of the alias, which is named among those to join through', async () => {
      const roomId = await b.room('bob', { room_alias_name: 'garden', preset: 'public_chat' });
      const { status, body } = await find('#garden:b.test');
      expect([status, body]).to.deep.equal([200, { room_id: roomId, servers: ['b.test'] }]);
    });

    it('are not found where there is no such alias, and cannot be where nobody answers', async () => {
      expect((await find('#nothing:b.test')).body.errcode).to.equal('M_NOT_FOUND');
      leading(() => ({ status: 500, body: 'broken' }));
      const { status, body } = await find('#broken:p.test');
      expect([status, body.errcode]).to.deep.equal([502, 'M_CONNECTION_FAILED']);
    });

    it('are believed to be what their server says for half a minute', async () => {
      leading(() => ({ body: { room_id: '!one:p.test', servers: ['p.test'] } }));
      expect((await find('#moving:p.test')).body.room_id).to.equal('!one:p.test');
      leading(() => ({ body: { room_id: '!two:p.test', servers: ['p.test'] } }));
      expect((await find('#moving:p.test')).body.room_id).to.equal('!one:p.test');
      await federation.clock.advance(31_000);
      expect((await find('#moving:p.test')).body.room_id).to.equal('!two:p.test');
    });

    it('are asked for anew when somebody joins, so that nobody comes to where an alias led before', async () => {
      const [first, second] = [
        await b.room('bob', { preset: 'public_chat' }),
        await b.room('bob', { preset: 'public_chat' }),
      ];
      for (const roomId of [first, second]) {
        leading(() => ({ body: { room_id: roomId, servers: ['b.test'] } }));
        const { body } = await a.ask('alice', 'POST', `/join/${encodeURIComponent('#moved:p.test')}`, {});
        expect(body.room_id).to.equal(roomId);
      }
    });

    it('are told with servers that are some, and not too many of them', async () => {
      const servers = ['nonsense//', 7, null, 'p.test', ...Array.from({ length: 500 }, (_, at) => `s${at}.example`)];
      leading(() => ({ body: { room_id: '!many:p.test', servers } }));
      const { body } = await find('#many:p.test');
      expect(body.servers).to.have.length(50);
      expect(body.servers.slice(0, 3)).to.deep.equal(['p.test', 's0.example', 's1.example']);
      for (const [index, answer] of [{}, { room_id: 'no room' }, { room_id: 7 }].entries()) {
        leading(() => ({ body: answer }));
        expect((await find(`#odd${index}:p.test`)).body.errcode).to.equal('M_CONNECTION_FAILED');
      }
    });

    it('stay closed when an alias of another server leads to a private room of this one', async () => {
      const roomId = await a.room('alice', { name: 'Secret' });
      leading(() => ({ body: { room_id: roomId, servers: ['a.test'] } }));
      expect((await find('#trap:p.test')).body.room_id).to.equal(roomId);
      const summary = await a.ask('eve', 'GET', `/v1/room_summary/${encodeURIComponent('#trap:p.test')}`);
      expect([summary.status, summary.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
      const joined = await a.ask('eve', 'POST', `/join/${encodeURIComponent('#trap:p.test')}`, {});
      expect([joined.status, joined.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
      // Nor does it become an alias of the room by the word of another server: an operator may list it.
      await a.setState('alice', roomId, 'm.room.canonical_alias', { alt_aliases: ['#trap:p.test'] });
      leading(() => ({ body: { room_id: '!elsewhere:p.test', servers: ['p.test'] } }));
      const other = await a.ask('alice', 'PUT', `/rooms/${roomId}/state/m.room.canonical_alias`, {
        alias: '#trap2:p.test',
      });
      expect([other.status, other.body.errcode]).to.deep.equal([400, 'M_BAD_ALIAS']);
    });

    it('are told to servers that ask for aliases of this one', async () => {
      const roomId = await a.room('alice', { room_alias_name: 'lake' });
      const ask = (alias: string) =>
        partner.send('a.test', 'GET', `${DIRECTORY}?room_alias=${encodeURIComponent(alias)}`);
      expect((await ask('#lake:a.test')).body).to.deep.equal({ room_id: roomId, servers: ['a.test'] });
      for (const [alias, status, errcode] of [
        ['#nothing:a.test', 404, 'M_NOT_FOUND'],
        ['#garden:b.test', 400, 'M_INVALID_PARAM'],
        ['lake', 400, 'M_INVALID_PARAM'],
      ] as const) {
        const answer = await ask(alias);
        expect([alias, answer.status, answer.body.errcode]).to.deep.equal([alias, status, errcode]);
      }
    });
  });

  describe('in the list of public rooms', () => {
    const list = (query: string): Promise<Json> => a.must(undefined, 'GET', `/publicRooms?server=b.test${query}`);
    const search = (filter: object): Promise<Json> => a.must('alice', 'POST', '/publicRooms?server=b.test', { filter });
    const names = ({ chunk }: Json): string[] => chunk.map(({ name }: Json) => name);

    before(async () => {
      for (const [name, type] of [
        ['Birds', undefined],
        ['Bees', undefined],
        ['All animals', 'm.space'],
      ] as const)
        await b.room('bob', {
          name,
          visibility: 'public',
          preset: 'public_chat',
          ...(type === undefined ? {} : { creation_content: { type } }),
        });
    });

    it('are listed page by page, searched and filtered as their own server does', async () => {
      expect(names(await list('')).toSorted()).to.deep.equal(['All animals', 'Bees', 'Birds']);
      const first = await list('&limit=2');
      expect([first.chunk.length, first.total_room_count_estimate]).to.deep.equal([2, 3]);
      const second = await list(`&limit=2&since=${first.next_batch}`);
      expect([...names(first), ...names(second)].toSorted()).to.deep.equal(['All animals', 'Bees', 'Birds']);
      expect(names(await search({ generic_search_term: 'bee' }))).to.deep.equal(['Bees']);
      expect(names(await search({ room_types: ['m.space'] }))).to.deep.equal(['All animals']);
      const wrong = await a.ask(undefined, 'GET', '/publicRooms?server=b.test&since=nonsense');
      expect([wrong.status, wrong.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    });

    it('are listed through no server that is none, and not this one by way of the network', async () => {
      const { status, body } = await a.ask(undefined, 'GET', '/publicRooms?server=no%20server');
      expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
      expect((await a.must(undefined, 'GET', '/publicRooms?server=a.test')).chunk).to.be.an('array');
    });

    it('are as many as were asked for, with all that is as it should be, whatever the other server sends', async () => {
      const room = (at: number): object => ({
        room_id: `!r${at}:p.test`,
        num_joined_members: at,
        world_readable: 'yes',
        guest_can_join: true,
        name: 7,
        topic: 'x'.repeat(20_000),
        avatar_url: 'https://p.test/x.png',
        canonical_alias: 'none',
        secret: true,
      });
      const chunk = [null, 'x', { name: 'no id' }, ...Array.from({ length: 200 }, (_, at) => room(at))];
      partner.on('GET', PUBLIC_ROOMS, () => ({
        body: { chunk, next_batch: { no: 1 }, total_room_count_estimate: 'many' },
      }));
      const page = await a.must(undefined, 'GET', '/publicRooms?server=p.test&limit=10');
      expect(page.chunk).to.have.length(7);
      expect(page.chunk[1]).to.deep.equal({
        room_id: '!r1:p.test',
        topic: 'x'.repeat(16_384),
        num_joined_members: 1,
        world_readable: false,
        guest_can_join: true,
        join_rule: 'public',
      });
      expect(page).to.have.all.keys('chunk', 'total_room_count_estimate');
      for (const [index, body] of [{}, { chunk: {} }, `{"chunk":["${'x'.repeat(5_000_000)}"]}`].entries()) {
        partner.on('GET', PUBLIC_ROOMS, () => ({ body }));
        const answer = await a.ask(undefined, 'GET', `/publicRooms?server=p.test&limit=${20 + index}`);
        expect([index, answer.status, answer.body.errcode]).to.deep.equal([index, 502, 'M_CONNECTION_FAILED']);
      }
    });

    it('are told to other servers, which never make this one ask a third', async () => {
      const { roomId } = { roomId: await a.room('alice', { name: 'Ours', visibility: 'public' }) };
      const { status, body } = await partner.send('a.test', 'GET', `${PUBLIC_ROOMS}?server=b.test`);
      expect([status, body.chunk.map((room: Json) => room.room_id)]).to.deep.equal([200, [roomId]]);
      const found = await partner.send('a.test', 'POST', PUBLIC_ROOMS, { filter: { generic_search_term: 'nothing' } });
      expect(found.body.chunk).to.deep.equal([]);
    });
  });
});
