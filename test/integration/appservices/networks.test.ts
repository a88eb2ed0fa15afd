import { expect } from 'chai';
import { registrationOf, StubAppservice } from '#test/support/stand-ins/application-service.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const IRC = {
  user_fields: ['network', 'nickname'],
  location_fields: ['network', 'channel'],
  icon: 'mxc://test/irc',
  field_types: {
    network: { regexp: '.+', placeholder: 'libera' },
    nickname: { regexp: '.+', placeholder: 'nick' },
    channel: { regexp: '#.+', placeholder: '#channel' },
  },
};
const instance = (network: string) => ({ desc: network, fields: { network }, network_id: network });

describe('networks of application services', () => {
  let one: StubAppservice;
  let other: StubAppservice;
  let server: InProcessServer;
  let first: ReturnType<typeof registrationOf>;
  before(async () => {
    one = await StubAppservice.start();
    other = await StubAppservice.start();
    first = registrationOf('one', { url: one.url, protocols: ['irc'] });
    server = await InProcessServer.start({
      appservices: [
        first,
        registrationOf('other', { url: other.url, protocols: ['irc', 'xmpp'] }),
        registrationOf('silent', { protocols: ['irc', 'sms'] }),
      ],
    });
  });
  beforeEach(async () => {
    one.answer = ({ path }) =>
      path.endsWith('/protocol/irc') ? [200, { ...IRC, instances: [instance('libera')] }] : [200, []];
    other.answer = ({ path }) =>
      path.endsWith('/protocol/irc')
        ? [200, { ...IRC, icon: 'mxc://test/other', instances: [instance('oftc')] }]
        : [404, {}];
    await server.clock.advance(2 * 3_600_000);
    one.take();
    other.take();
  });
  after(async () => {
    await server.stop();
    await one.stop();
    await other.stop();
  });

  const get = (path: string): Promise<Json> => server.must('alice', 'GET', `/thirdparty/${path}`);
  const asked = (stub: StubAppservice): string[] =>
    stub.take().flatMap(({ path, target }) => (path.includes('thirdparty') ? [target] : []));

  describe('protocols', () => {
    it('are told with the networks of all services that speak them, each by a name of its own', async () => {
      const protocols = await get('protocols');
      expect(Object.keys(protocols)).to.deep.equal(['irc']);
      expect(protocols.irc).to.deep.equal({
        ...IRC,
        instances: [
          { ...instance('libera'), instance_id: 'one|libera' },
          { ...instance('oftc'), instance_id: 'other|oftc' },
        ],
      });
      expect(await get('protocol/irc')).to.deep.equal(protocols.irc);
    });

    it('are asked for once in an hour, and those of which nothing is said once in a minute', async () => {
      await get('protocols');
      await get('protocols');
      expect(asked(one)).to.deep.equal(['/_matrix/app/v1/thirdparty/protocol/irc']);
      expect(asked(other).filter((target) => target.endsWith('xmpp'))).to.have.length(2); // the way of today, and that of before
    });

    it('are not known where no service speaks them, or none says anything', async () => {
      for (const name of ['nothing', 'sms', 'xmpp'])
        expect((await server.ask('alice', 'GET', `/thirdparty/protocol/${name}`)).body.errcode, name).to.equal(
          'M_NOT_FOUND',
        );
      expect((await server.ask('alice', 'GET', '/thirdparty/user/nothing')).body.errcode).to.equal('M_NOT_FOUND');
    });

    it('are told without what makes no sense in the answer of a service', async () => {
      one.answer = () => [
        200,
        {
          user_fields: ['a', 1],
          location_fields: [],
          field_types: { a: 1 },
          instances: [1, {}, { desc: 'x', network_id: 'y' }],
        },
      ];
      other.answer = () => [200, 'no JSON'];
      expect(await get('protocol/irc')).to.deep.equal({
        user_fields: ['a'],
        location_fields: [],
        icon: '',
        field_types: {},
        instances: [{ desc: 'x', fields: {}, network_id: 'y', instance_id: 'one|y' }],
      });
    });
  });

  describe('users and places', () => {
    const user = { userid: '@_one_nick:test', protocol: 'irc', fields: { nickname: 'nick' } };
    const place = { alias: '#_other_room:test', protocol: 'irc', fields: { channel: '#room' } };

    it('are looked up at all services that speak the protocol, by the fields that the client gives', async () => {
      one.answer = () => [200, [user, { userid: 'nonsense' }, 5]];
      other.answer = () => [200, [{ ...user, userid: '@_other_nick:test' }]];
      const found = await get('user/irc?nickname=nick&network=a%26b');
      expect(found.map(({ userid }: Json) => userid)).to.deep.equal(['@_one_nick:test', '@_other_nick:test']);
      expect(asked(one)).to.deep.equal(['/_matrix/app/v1/thirdparty/user/irc?nickname=nick&network=a%26b']);
      other.answer = () => [200, [place]];
      one.answer = () => [500, {}];
      expect(await get('location/irc?channel=%23room')).to.deep.equal([place]);
    });

    it('are looked up the other way round by user id and alias', async () => {
      one.answer = ({ query }) => [200, query.get('userid') === user.userid ? [user] : []];
      expect(await get(`user?userid=${user.userid}`)).to.deep.equal([user]);
      other.answer = ({ query }) => [200, query.get('alias') === place.alias ? [place] : []];
      expect(await get(`location?alias=${encodeURIComponent(place.alias)}`)).to.deep.equal([place]);
    });

    it('are asked for by the way of before, and never with the token of whoever asks', async () => {
      other.answer = ({ path }) =>
        path === '/_matrix/app/unstable/thirdparty/location/irc' ? [200, [place]] : [404, {}];
      const { token } = await server.session('alice');
      const found = await server.ask(undefined, 'GET', `/thirdparty/location/irc?channel=x&access_token=${token}`);
      expect(found.body).to.deep.equal([place]);
      const targets = [...asked(one), ...asked(other)];
      expect(targets.join()).to.include('channel=x').and.not.to.include(token);
    });

    it('are bounded: fields of a search, and results of a service', async () => {
      const fields = Array.from({ length: 21 }, (_, index) => `f${index}=x`).join('&');
      for (const query of [fields, `f=${'x'.repeat(513)}`])
        expect((await server.ask('alice', 'GET', `/thirdparty/user/irc?${query}`)).body.errcode).to.equal(
          'M_INVALID_PARAM',
        );
      one.answer = () => [200, Array.from({ length: 150 }, () => user)];
      expect(await get('user/irc?nickname=x')).to.have.length(100);
    });

    it('do not wait for a service that does not answer longer than for a few seconds', async () => {
      one.answer = () => 'hang';
      other.answer = () => [200, [place]];
      const answer = get('location/irc?channel=x');
      const wait = async (): Promise<void> => {
        while (one.asked.length === 0) await server.clock.advance(0);
        await server.clock.advance(10_000);
        await answer;
      };
      await server.clock.runDueUntil(wait());
      expect(await answer).to.deep.equal([place]);
    });
  });

  describe('room directories', () => {
    const list = (network: string, room: string, visibility: string, token = first.as_token) =>
      server.ask(token, 'PUT', `/directory/list/appservice/${network}/${room}`, { visibility });
    const names = async (query: object): Promise<string[]> =>
      (await server.must('alice', 'POST', '/publicRooms', query)).chunk.map(({ name }: Json) => name);

    it('hold the rooms that a service lists for a network, and only those', async () => {
      const listed = await server.room('alice', { name: 'listed', visibility: 'public' });
      const bridged = await server.room(first.as_token, { name: 'bridged' });
      const both = await server.room(first.as_token, { name: 'both', visibility: 'public' });
      expect(await names({})).to.have.members(['listed', 'both']);
      expect((await list('libera', bridged, 'public')).status).to.equal(200);
      expect((await list('libera', both, 'public')).status).to.equal(200);
      expect((await list('oftc', bridged, 'public')).status).to.equal(200);
      expect(await names({ third_party_instance_id: 'one|libera' })).to.have.members(['bridged', 'both']);
      expect(await names({ third_party_instance_id: 'one|oftc' })).to.deep.equal(['bridged']);
      expect(await names({ third_party_instance_id: 'other|oftc' })).to.deep.equal([]);
      expect(
        await names({ third_party_instance_id: 'one|libera', filter: { generic_search_term: 'both' } }),
      ).to.deep.equal(['both']);
      expect(await names({})).to.have.members(['listed', 'both']);
      expect(await names({ include_all_networks: true })).to.have.members(['listed', 'both', 'bridged']);
      await server.restart();
      expect(await names({ include_all_networks: true })).to.have.members(['listed', 'both', 'bridged']);
      expect(await names({ third_party_instance_id: 'one|libera', limit: 1 })).to.have.length(1);
      expect((await list('libera', bridged, 'private')).status).to.equal(200);
      expect(await names({ third_party_instance_id: 'one|libera' })).to.deep.equal(['both']);
      await list('oftc', bridged, 'private');
      expect(await names({ include_all_networks: true })).to.have.members(['listed', 'both']);
      await server.must('alice', 'PUT', `/directory/list/room/${listed}`, { visibility: 'private' });
      expect(await names({ include_all_networks: true })).to.deep.equal(['both']);
    });

    it('are kept by application services alone, of rooms that they know', async () => {
      const room = await server.room('alice');
      expect((await list('libera', room, 'public', 'alice')).body.errcode).to.equal('M_FORBIDDEN');
      expect((await list('libera', room, 'public')).body.errcode).to.equal('M_NOT_FOUND');
      await server.must('alice', 'PUT', `/rooms/${room}/state/m.room.join_rules/`, { join_rule: 'knock' });
      expect((await list('libera', room, 'public')).body.errcode).to.equal('M_FORBIDDEN');
      expect((await list('libera', '!nowhere', 'public')).body.errcode).to.equal('M_NOT_FOUND');
      expect((await list('x'.repeat(256), room, 'public')).body.errcode).to.equal('M_INVALID_PARAM');
    });

    it('are asked for all networks or for one, not both', async () => {
      const query = { include_all_networks: true, third_party_instance_id: 'one|libera' };
      expect((await server.ask('alice', 'POST', '/publicRooms', query)).body.errcode).to.equal('M_INVALID_PARAM');
    });
  });
});
