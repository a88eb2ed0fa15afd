import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { eventId } from '#src/protocol/events/event-hashes.ts';
import { until } from '#test/support/until.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import { PartialRoom } from '#test/support/federation/partial-room.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { JoinableRoom } from '#test/support/federation/joinable-room.ts';

const MIB = 1024 ** 2;
const HOUR = 3_600_000;

describe('joining through servers that are broken, or mean harm', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;
  let q: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test', 'q.test', 'long0.servers.test', 'long1.servers.test'],
      server: { config: { room: { maxStateBytes: 131_072 }, federation: { maxStateBytes: 16 * MIB } } },
    });
    a = federation.server('a.test');
    p = federation.partner('p.test');
    q = federation.partner('q.test');
  });
  after(() => federation?.stop());

  const join = (room: JoinableRoom, via: readonly string[] = ['p.test']): Promise<Json> =>
    a.ask(
      'alice',
      'POST',
      `/join/${encodeURIComponent(room.roomId)}?${via.map((name) => `via=${name}`).join('&')}`,
      {},
    );
  const joinedRooms = async (): Promise<string[]> => (await a.must('alice', 'GET', '/joined_rooms')).joined_rooms;
  const stateOf = async (room: JoinableRoom): Promise<string[]> =>
    (await a.must('alice', 'GET', `/rooms/${encodeURIComponent(room.roomId)}/state`)).map(
      (event: Json) => `${event.type} ${event.state_key}`,
    );

  describe('a join stands', () => {
    for (const version of ['1', '6', '10', '12']) {
      it(`in room version ${version}, with the whole state`, async () => {
        const room = new JoinableRoom(p, version);
        room.add({ type: 'm.room.name', sender: room.creator, stateKey: '', content: { name: 'Partner' } });
        room.serveJoins();
        expect((await join(room)).status).to.equal(200);
        expect((await stateOf(room)).toSorted()).to.deep.equal(
          [...room.state.keys()]
            .map((key) => key.replace('\0', ' '))
            .concat('m.room.member @alice:a.test')
            .toSorted(),
        );
      });
    }
    it('without events that nobody signed, that others signed, or that are malformed', async () => {
      const room = new JoinableRoom(p);
      const stranger = generateSigningKey((count) => systemRandom.bytes(count));
      const byStranger = room.build({
        type: 'm.room.topic',
        sender: room.creator,
        stateKey: '',
        content: {},
        signingKey: stranger,
      });
      const ofUnknown = room.build({
        type: 'm.room.member',
        sender: '@ghost:gone.test',
        stateKey: '@ghost:gone.test',
        content: { membership: 'join' },
        signingKey: stranger,
        serverName: 'gone.test',
      });
      const { signatures: _signatures, ...unsigned } = room.build({
        type: 'm.room.avatar',
        sender: room.creator,
        stateKey: '',
        content: {},
      }).pdu;
      const name = room.add({ type: 'm.room.name', sender: room.creator, stateKey: '', content: { name: 'Real' } });
      const answer = room.joinAnswer();
      const state = [
        ...(answer['state'] as Json[]),
        byStranger.pdu,
        ofUnknown.pdu,
        unsigned,
        7,
        'text',
        null,
        { type: 5 },
      ];
      room.serveJoins(() => ({ ...answer, state }));
      expect((await join(room)).status).to.equal(200);
      const shown = await stateOf(room);
      expect(shown).to.include('m.room.name ').and.not.include('m.room.topic ').and.not.include('m.room.avatar ');
      expect(shown).not.to.include('m.room.member @ghost:gone.test');
      expect(name.eventId).to.be.a('string');
    });
    it('without state whose auth events are not there, or do not allow it', async () => {
      const room = new JoinableRoom(p);
      const orphan = room.build({
        type: 'm.room.topic',
        sender: room.creator,
        stateKey: '',
        content: {},
        auth: [...room.authOf({ type: 'm.room.topic', sender: room.creator, content: {} }), `$${'A'.repeat(43)}`],
      });
      const forbidden = room.build({
        type: 'm.room.name',
        sender: '@nobody:p.test',
        stateKey: '',
        content: { name: 'no' },
      });
      const answer = room.joinAnswer();
      room.serveJoins(() => ({ ...answer, state: [...(answer['state'] as Json[]), orphan.pdu, forbidden.pdu] }));
      expect((await join(room)).status).to.equal(200);
      const shown = await stateOf(room);
      expect(shown).not.to.include('m.room.topic ').and.not.include('m.room.name ');
    });
    it('with what happens in the room while it is brought', async () => {
      const room = new JoinableRoom(p);
      room.serveJoins();
      const answer = room.joinAnswer();
      const { promise: isAsked, resolve: asked } = Promise.withResolvers<void>();
      const { promise: isSent, resolve: sent } = Promise.withResolvers<void>();
      p.on('PUT', `/_matrix/federation/v2/send_join/${encodeURIComponent(room.roomId)}/*`, async ({ body }) => {
        room.take({ eventId: eventId(room.version, body), pdu: body });
        asked();
        await isSent;
        return { body: answer };
      });
      const joining = join(room);
      await isAsked;
      const content = { msgtype: 'm.text', body: 'while you came' };
      const said = room.add({ type: 'm.room.message', sender: room.creator, content });
      const transaction = p.transact('a.test', { pdus: [said.pdu] });
      await until('the transaction waits', () => a.services.remoteJoins.coming(room.roomId) !== undefined);
      sent();
      expect((await joining).status).to.equal(200);
      expect((await transaction).body.pdus).to.deep.equal({ [said.eventId]: {} });
      await federation.idle();
      const { chunk } = await a.must(
        'alice',
        'GET',
        `/rooms/${encodeURIComponent(room.roomId)}/messages?dir=b&limit=5`,
      );
      expect(chunk.map((event: Json) => event.content.body)).to.include('while you came');
    });
    it('through the next server when the first is not there, does not know the room, fails, or answers nonsense', async () => {
      for (const answer of [
        { status: 404, body: { errcode: 'M_NOT_FOUND', error: 'no' } },
        { status: 502, body: {} },
        { status: 400, body: { errcode: 'M_UNABLE_TO_AUTHORISE_JOIN', error: 'ask another' } },
        { status: 200, body: { room_version: '10', event: { type: 'm.room.member' } } },
        { status: 200, body: '[]' },
      ]) {
        // A server that failed for the answer before is asked anew.
        federation.clock.set(60_000);
        const room = new JoinableRoom(p);
        room.serveJoins();
        const path = `/_matrix/federation/v1/make_join/${encodeURIComponent(room.roomId)}/`;
        q.on('GET', `${path}*`, () => answer);
        expect((await join(room, ['nowhere.test', 'q.test', 'p.test'])).status, JSON.stringify(answer)).to.equal(200);
        expect(q.requests('GET', /make_join/).filter((request) => request.path.startsWith(path))).to.have.lengthOf(1);
      }
    });
    for (const version of ['1', '5', '10', '12'])
      it(`through the next server when the template of the first makes no event of room version ${version}`, async () => {
        const long = `$${'x'.repeat(70_000)}`;
        const nothing = Array.from({ length: 21 }, () => '$x');
        const ids: unknown[] = [
          '',
          '$',
          '$half\ud800',
          '$nul\0',
          long,
          1.5,
          null,
          {},
          ['$x'],
          ['$x', 1.5],
          ['$x', { sha256: 1.5 }],
        ];
        ids.push(
          ['$x', { sha256: long }],
          [long, { sha256: 'x' }],
          ['$x', { sha256: 'x', '\ud800': 1 }],
          ['$x', {}, {}],
        );
        const changes: object[] = ids.flatMap((id) => [{ prev_events: [id] }, { auth_events: [id] }]);
        changes.push(
          { prev_events: nothing },
          { auth_events: nothing },
          { depth: 1e300 },
          { depth: -1 },
          { depth: null },
        );
        // What failed for the test before is asked anew.
        federation.clock.set(60_000);
        for (const change of changes) {
          const room = new JoinableRoom(p, version);
          room.serveJoins();
          const template = room.template('join', '@alice:a.test');
          q.on('GET', `/_matrix/federation/v1/make_join/${encodeURIComponent(room.roomId)}/*`, () => ({
            body: JSON.stringify({ ...template, event: { ...(template['event'] as JsonObject), ...change } }),
          }));
          const { body, status } = await join(room, ['q.test', 'p.test']);
          expect(status, JSON.stringify([change, body]).slice(0, 300)).to.equal(200);
          expect(
            q.requests('GET', /make_join/).some(({ path }) => path.includes(encodeURIComponent(room.roomId))),
          ).to.equal(true);
        }
      });
    it('though the template says that nobody authorises it, or who is no user', async () => {
      for (const nobody of ['', 'x', `@${'x'.repeat(70_000)}:p.test`, '@half\ud800:p.test', 7, null, {}]) {
        const room = new JoinableRoom(p, '10');
        room.serveJoins();
        const template = room.template('join', '@alice:a.test') as Json;
        template.event.content.join_authorised_via_users_server = nobody;
        p.on('GET', `/_matrix/federation/v1/make_join/${encodeURIComponent(room.roomId)}/*`, () => ({
          body: JSON.stringify(template),
        }));
        const { body, status } = await join(room);
        expect(status, JSON.stringify([nobody, body]).slice(0, 300)).to.equal(200);
      }
    });
  });

  describe('a join fails, and leaves nothing', () => {
    const fails = async (room: JoinableRoom, status: number, errcode: string): Promise<void> => {
      const { body, status: actual } = await join(room);
      expect([actual, body.errcode]).to.deep.equal([status, errcode]);
      expect(await joinedRooms()).not.to.include(room.roomId);
      const { rooms } = await a.must('alice', 'GET', '/sync');
      expect(JSON.stringify(rooms ?? {})).not.to.include(room.roomId);
      // What was left of the attempt is in no other's way.
      room.serveJoins();
      expect((await join(room)).status).to.equal(200);
    };

    it('when the server says so, with what it says', async () => {
      const room = new JoinableRoom(p);
      p.on('GET', `/_matrix/federation/v1/make_join/${encodeURIComponent(room.roomId)}/*`, () => ({
        status: 403,
        body: { errcode: 'M_FORBIDDEN', error: 'banned' },
      }));
      await fails(room, 403, 'M_FORBIDDEN');
    });
    it('when the server says that our request is malformed: the next one is asked, and the client is not to blame', async () => {
      for (const [method, path] of [
        ['GET', 'v1/make_join'],
        ['PUT', 'v2/send_join'],
      ] as const)
        for (const errcode of ['M_INVALID_PARAM', 'M_MISSING_PARAM']) {
          const room = new JoinableRoom(p);
          room.serveJoins();
          const refuse = (partner: RemotePartner): void =>
            partner.on(method, `/_matrix/federation/${path}/${encodeURIComponent(room.roomId)}/*`, () => ({
              status: 400,
              body: { errcode, error: 'no' },
            }));
          refuse(p);
          await fails(room, 502, 'M_CONNECTION_FAILED');
          const other = new JoinableRoom(p);
          other.serveJoins();
          q.on('GET', `/_matrix/federation/v1/make_join/${encodeURIComponent(other.roomId)}/*`, () => ({
            status: 400,
            body: { errcode, error: 'no' },
          }));
          expect((await join(other, ['q.test', 'p.test'])).status).to.equal(200);
        }
    });
    it('when this server knows none of the versions of rooms, and says which one the room has', async () => {
      const room = new JoinableRoom(p);
      p.on('GET', `/_matrix/federation/v1/make_join/${encodeURIComponent(room.roomId)}/*`, () => ({
        status: 400,
        body: { errcode: 'M_INCOMPATIBLE_ROOM_VERSION', error: 'too new', room_version: '99', secret: 'no' },
      }));
      const { body, status } = await join(room);
      expect([status, body.errcode, body.room_version]).to.deep.equal([400, 'M_INCOMPATIBLE_ROOM_VERSION', '99']);
      expect(body).not.to.have.property('secret');
    });
    it('when the template is of another room, user, type or membership', async () => {
      const wrong: ((event: Json) => JsonObject)[] = [
        (event) => ({ ...event, room_id: '!other:p.test' }),
        (event) => ({ ...event, sender: '@other:a.test' }),
        (event) => ({ ...event, state_key: '@other:a.test' }),
        (event) => ({ ...event, type: 'm.room.power_levels', state_key: '' }),
        (event) => ({ ...event, content: { membership: 'leave' } }),
        (event) => ({ ...event, prev_events: ['nonsense'] }),
        (event) => ({ ...event, depth: 'deep' }),
      ];
      for (const change of wrong) {
        const room = new JoinableRoom(p);
        p.on('GET', `/_matrix/federation/v1/make_join/${encodeURIComponent(room.roomId)}/*`, () => {
          const { event, room_version: version } = room.template('join', '@alice:a.test');
          return { body: { room_version: version, event: change(event) } };
        });
        await fails(room, 502, 'M_CONNECTION_FAILED');
        expect(
          p.requests('PUT', /send_join/).filter(({ path }) => path.includes(encodeURIComponent(room.roomId))),
        ).to.have.lengthOf(1);
      }
    });
    it('when the state has no m.room.create, or that of another room or version', async () => {
      const without = (room: JoinableRoom, type: string): Json[] =>
        [...room.state.values()].map(({ pdu }) => pdu).filter((pdu) => pdu.type !== type);
      const none = new JoinableRoom(p);
      none.serveJoins(() => none.joinAnswer({ state: without(none, 'm.room.create'), auth_chain: [] }));
      await fails(none, 502, 'M_CONNECTION_FAILED');
      for (const version of ['10', '12']) {
        const room = new JoinableRoom(p, version);
        const other = new JoinableRoom(p, version);
        room.serveJoins(() => other.joinAnswer());
        await fails(room, 502, 'M_CONNECTION_FAILED');
      }
      const eleven = new JoinableRoom(p, '11');
      eleven.serveJoins();
      p.on('GET', `/_matrix/federation/v1/make_join/${encodeURIComponent(eleven.roomId)}/*`, () => ({
        body: { ...eleven.template('join', '@alice:a.test'), room_version: '10' },
      }));
      await fails(eleven, 502, 'M_CONNECTION_FAILED');
    });
    it('when the state does not allow it', async () => {
      const room = new JoinableRoom(p, '10', 'invite');
      room.serveJoins();
      const { body, status } = await join(room);
      expect([status, body.errcode]).to.deep.equal([502, 'M_CONNECTION_FAILED']);
      expect(await joinedRooms()).not.to.include(room.roomId);
    });
    it('when the answer breaks off, is no JSON, or has parts without end', async () => {
      for (const body of [
        '{"state":[{"type":"m.room.create"',
        '{"state":[], "auth_chain":[]',
        'nonsense',
        '[404]',
        `{"state":[${'['.repeat(5_000)}`,
        `{"servers_in_room":["${'x'.repeat(5_000_000)}"]}`,
        `{"state":[{"type":"${'x'.repeat(300_000)}"}],"auth_chain":[]}`,
      ]) {
        const room = new JoinableRoom(p);
        room.serveJoins();
        p.on('PUT', `/_matrix/federation/v2/send_join/${encodeURIComponent(room.roomId)}/*`, () => ({ body }));
        await fails(room, 502, 'M_CONNECTION_FAILED');
      }
    });
    it('when the state is larger than this server can show its users, but for memberships: no other server is asked, and the user leaves again', async () => {
      const large = (room: JoinableRoom, count: number): Json[] =>
        Array.from({ length: count }, (_, index) =>
          room.build({
            type: 'org.large',
            sender: room.creator,
            stateKey: `k${index}`,
            content: { text: 'x'.repeat(60_000) },
          }),
        ).map(({ pdu }) => pdu);
      const room = new JoinableRoom(p);
      const state = [...room.state.values()].map(({ pdu }) => pdu);
      room.serveJoins(() => room.joinAnswer({ state: [...state, ...large(room, 12)] }));
      const path = encodeURIComponent(room.roomId);
      const left: Json[] = [];
      p.on('GET', `/_matrix/federation/v1/make_leave/${path}/*`, () => ({
        body: room.template('leave', '@alice:a.test'),
      }));
      p.on('PUT', `/_matrix/federation/v2/send_leave/${path}/*`, ({ body }) => {
        left.push([body.type, body.state_key, body.content.membership]);
        return { body: {} };
      });
      q.asked.length = 0;
      const { body, status } = await join(room, ['p.test', 'q.test']);
      expect([status, body.errcode]).to.deep.equal([403, 'M_RESOURCE_LIMIT_EXCEEDED']);
      expect(left).to.deep.equal([['m.room.member', '@alice:a.test', 'leave']]);
      expect(q.asked.filter((asked) => asked.path.includes(path))).to.deep.equal([]);
      await fails(room, 403, 'M_RESOURCE_LIMIT_EXCEEDED');
      const smaller = new JoinableRoom(p);
      const some = [...smaller.state.values()].map(({ pdu }) => pdu);
      smaller.serveJoins(() => smaller.joinAnswer({ state: [...some, ...large(smaller, 6)] }));
      expect((await join(smaller)).status).to.equal(200);
    });
    it('when who authorised it did not sign it', async () => {
      const room = new JoinableRoom(p, '10', 'restricted');
      p.on('GET', `/_matrix/federation/v1/make_join/${encodeURIComponent(room.roomId)}/*`, () => {
        const { event, room_version: version } = room.template('join', '@alice:a.test') as Json;
        const content = { membership: 'join', join_authorised_via_users_server: room.creator };
        return { body: { room_version: version, event: { ...event, content } } };
      });
      p.on('PUT', `/_matrix/federation/v2/send_join/${encodeURIComponent(room.roomId)}/*`, ({ body }) => ({
        body: room.joinAnswer({ event: body }),
      }));
      const { body, status } = await join(room);
      expect([status, body.errcode]).to.deep.equal([502, 'M_CONNECTION_FAILED']);
      expect(await joinedRooms()).not.to.include(room.roomId);
    });
  });

  describe('an answer without end', () => {
    it('ends where an answer may have no more bytes, however good it is', async () => {
      const room = new JoinableRoom(p);
      for (let index = 0; index < 290; index += 1)
        room.add({
          type: 'm.room.member',
          sender: `@m${index}:p.test`,
          stateKey: `@m${index}:p.test`,
          content: { membership: 'join', text: 'x'.repeat(60_000) },
        });
      room.serveJoins();
      const { body, status } = await join(room);
      expect([status, body.errcode], body.error).to.deep.equal([502, 'M_CONNECTION_FAILED']);
      expect(body.error).to.include('more than 16777216 bytes');
    });
    it('is read on when the first half of it is of servers that are gone, as in old rooms', async () => {
      const room = new JoinableRoom(p);
      const signingKey = generateSigningKey((count) => systemRandom.bytes(count));
      const gone = Array.from({ length: 150 }, (_, index) => {
        const user = `@m${index}:gone.test`;
        const content = { membership: 'join', text: 'x'.repeat(60_000) };
        return room.build({
          type: 'm.room.member',
          sender: user,
          stateKey: user,
          content,
          signingKey,
          serverName: 'gone.test',
        }).pdu;
      });
      const state = [...room.state.values()].map(({ pdu }) => pdu);
      room.serveJoins(() => room.joinAnswer({ state: [...gone, ...state] }));
      const { body, status } = await join(room);
      expect(status, JSON.stringify(body)).to.equal(200);
    });
    it('of a whole state is asked for more and more rarely, and administrators see why the room stays partial', async () => {
      const room = new PartialRoom(p, [], ['p.test']);
      for (let index = 0; index < 290; index += 1) room.enter(`@m${index}:p.test`, { text: 'x'.repeat(60_000) });
      room.open();
      const { body, status } = await join(room);
      expect(status, JSON.stringify(body)).to.equal(200);
      const path = `/_matrix/federation/v1/state/${encodeURIComponent(room.roomId)}`;
      const asked = (): number => p.requests('GET', /\/state\//).filter((one) => one.path.startsWith(path)).length;
      const seen = async (): Promise<Json> =>
        (await a.must('admin-a', 'GET', `/_synapse/admin/v1/rooms/${encodeURIComponent(room.roomId)}`)).partial_state;
      await until('it has failed', async () => (await seen()).error !== null);
      expect(await seen()).to.deep.equal({
        joined_via: 'p.test',
        failed_server: 'p.test',
        error: 'The answer has more than 16777216 bytes.',
      });
      expect(asked()).to.equal(1);
      // Another user comes in meanwhile: what is too long is the whole state, not the answer to a join.
      expect((await a.ask('bob', 'POST', `/join/${encodeURIComponent(room.roomId)}?via=p.test`, {})).status).to.equal(
        200,
      );
      const pass = async (ms: number): Promise<void> => {
        for (let passed = 0; passed < ms; passed += HOUR / 4) {
          await federation.clock.advance(HOUR / 4);
          await a.services.fullStates.idle();
        }
      };
      await pass(HOUR * 0.75);
      expect(asked()).to.equal(1);
      await pass(HOUR * 2);
      expect(asked()).to.equal(2);
      await pass(HOUR / 2);
      expect(asked()).to.equal(2);
      const errors = a.lines.filter(
        ({ fields, level }) => level === 'error' && JSON.stringify(fields ?? {}).includes(room.roomId),
      );
      expect(errors).to.have.lengthOf(1);
    });
    const endless = ['again and again the same event', 'ever new events that nobody signed'] as const;
    for (const [index, what] of endless.entries()) {
      it(`of ${what} is not read for long, its server is not asked about that room for a while, and its user pays for it`, async () => {
        const name = `long${index}.servers.test`;
        const server = federation.partner(name);
        const room = new JoinableRoom(server);
        room.serveJoins();
        const path = encodeURIComponent(room.roomId);
        const filling = room.build({
          type: 'org.large',
          sender: room.creator,
          stateKey: 'x',
          content: { text: 'x'.repeat(60_000) },
        }).pdu;
        const { rateLimiter } = a.services;
        const charge = rateLimiter.charge.bind(rateLimiter);
        let paid = 0;
        rateLimiter.charge = (bucket, key, units) => {
          if (bucket === 'joined_state_bytes') paid += units;
          charge(bucket, key, units);
        };
        let written = 0;
        server.on('PUT', `/_matrix/federation/v2/send_join/${path}/*`, ({ response }) => {
          response.on('error', () => undefined);
          response.write('{"auth_chain":[],"state":[');
          const pour = (): void => {
            while (!response.destroyed && written < 200 * MIB) {
              const state_key = index === 0 ? 'x' : `x${written}`;
              const text = `${JSON.stringify({ ...filling, state_key })},`;
              written += text.length;
              if (!response.write(text)) return;
            }
          };
          response.on('drain', pour);
          pour();
          return undefined;
        });
        try {
          const { body, status } = await join(room, [name]);
          expect([status, body.errcode], body.error).to.deep.equal([502, 'M_CONNECTION_FAILED']);
          expect(written).to.be.below(40 * MIB);
          const asked = server.requests('GET', /make_join/).length;
          const again = await join(room, [name]);
          expect([again.status, again.body.error]).to.deep.equal([
            502,
            `${name} gave an answer that cannot be used. What it told before was long and of no use: try again later.`,
          ]);
          expect(server.requests('GET', /make_join/)).to.have.lengthOf(asked);
        } finally {
          rateLimiter.charge = charge;
        }
        expect(paid).to.be.within(8 * MIB, 18 * MIB);
        const other = new JoinableRoom(server);
        other.serveJoins();
        expect((await join(other, [name])).status, 'another room').to.equal(200);
        federation.clock.spend(HOUR);
        room.serveJoins();
        const { body: joined, status: then } = await join(room, [name]);
        expect(then, JSON.stringify(joined)).to.equal(200);
      });
    }
  });

  describe('a knock', () => {
    for (const version of ['10', '12'])
      it(`is answered with what the room is, of which nothing forged is shown (room version ${version})`, async () => {
        const room = new JoinableRoom(p, version, 'knock');
        const other = new JoinableRoom(p, version, 'knock');
        const set = (type: string, content: JsonObject, more: object = {}): JsonObject =>
          room.build({ type, sender: room.creator, stateKey: '', content, ...more }).pdu;
        const stranger = generateSigningKey((count) => systemRandom.bytes(count));
        const create = [...room.state.values()][0]!.pdu;
        const told = [
          create,
          set('m.room.topic', { topic: 'as it was signed' }),
          { ...set('m.room.name', { name: 'Signed' }), content: { name: 'Forged' } },
          set('m.room.avatar', { url: 'mxc://p.test/forged' }, { signingKey: stranger }),
          [...other.state.values()].find(({ pdu }) => pdu.type === 'm.room.join_rules')!.pdu,
          { type: 'm.room.encryption', sender: room.creator, state_key: '', content: { algorithm: 'stripped' } },
        ];
        const path = encodeURIComponent(room.roomId);
        p.on('GET', `/_matrix/federation/v1/make_knock/${path}/*`, () => ({
          body: room.template('knock', '@alice:a.test'),
        }));
        p.on('PUT', `/_matrix/federation/v1/send_knock/${path}/*`, () => ({ body: { knock_room_state: told } }));
        expect((await a.ask('alice', 'POST', `/knock/${path}?via=p.test`, {})).status).to.equal(200);
        const { rooms } = await a.must('alice', 'GET', '/sync');
        const shown = rooms.knock[room.roomId].knock_state.events.map(({ content, type }: Json) => [type, content]);
        expect(shown.slice(0, -1)).to.deep.equal([
          ['m.room.create', create['content']],
          ['m.room.topic', { topic: 'as it was signed' }],
          ['m.room.name', {}],
          ['m.room.encryption', { algorithm: 'stripped' }],
        ]);
        expect(shown.at(-1)).to.deep.equal(['m.room.member', { membership: 'knock' }]);
      });
    it('is refused by a server of which the room tells that it is in it, and by no other', async () => {
      const room = new JoinableRoom(p, '10', 'knock');
      const path = encodeURIComponent(room.roomId);
      p.on('GET', `/_matrix/federation/v1/make_knock/${path}/*`, () => ({
        body: room.template('knock', '@alice:a.test'),
      }));
      p.on('PUT', `/_matrix/federation/v1/send_knock/${path}/*`, ({ body }) => {
        room.take({ eventId: eventId(room.version, body), pdu: body });
        const told = [...room.state.values()].map(({ pdu }) => pdu).filter(({ type }) => type !== 'm.room.member');
        return { body: { knock_room_state: told } };
      });
      expect((await a.ask('alice', 'POST', `/knock/${path}?via=p.test`, {})).status).to.equal(200);
      const refusal = (sender: string, partner: RemotePartner): JsonObject =>
        room.build({
          type: 'm.room.member',
          sender,
          stateKey: '@alice:a.test',
          content: { membership: 'leave' },
          signingKey: partner.signingKey,
          serverName: partner.serverName,
        }).pdu;
      const isKnocking = async (): Promise<boolean> =>
        (await a.must('alice', 'GET', '/sync')).rooms?.knock?.[room.roomId] !== undefined;
      await q.transact('a.test', { pdus: [refusal('@stranger:q.test', q)] });
      expect(await isKnocking()).to.equal(true);
      await p.transact('a.test', { pdus: [refusal(room.creator, p)] });
      expect(await isKnocking()).to.equal(false);
    });
  });

  for (const version of ['6', '12'])
    it(`a room (version ${version}) stands although one of its servers sends what it is built on once more, with a state that does not allow it`, async () => {
      const room = new PartialRoom(p, ['@m1:p.test'], ['p.test'], version);
      room.open();
      expect((await join(room)).status).to.equal(200);
      const known = async (): Promise<Room> => (await a.services.rooms.byId(room.roomId))!;
      await until('the state is whole', async () => (await known()).partial === undefined);
      const old = [...room.events.values()].filter(({ pdu }) => pdu.sender !== '@alice:a.test');
      const path = encodeURIComponent(room.roomId);
      p.on('GET', `/_matrix/federation/v1/state_ids/${path}`, () => ({ body: { pdu_ids: [], auth_chain_ids: [] } }));
      p.on('GET', `/_matrix/federation/v1/state/${path}`, () => ({ body: { pdus: [], auth_chain: [] } }));
      p.on('POST', `/_matrix/federation/v1/get_missing_events/${path}`, () => ({
        body: { events: old.map(({ pdu }) => pdu) },
      }));
      for (const event of [...old, ...old.toReversed()]) await p.transact('a.test', { pdus: [event.pdu] });
      await a.services.inboundQueue.idle();
      await a.restart();
      const said = room.say('@m1:p.test', 'still here');
      await p.transact('a.test', { pdus: [said.pdu] });
      await a.services.inboundQueue.idle();
      const { content } = await a.must('alice', 'GET', `/rooms/${path}/event/${encodeURIComponent(said.eventId)}`);
      expect(content.body).to.equal('still here');
      await a.must('alice', 'PUT', `/rooms/${path}/send/m.room.message/t`, { msgtype: 'm.text', body: 'me too' });
      expect((await stateOf(room)).toSorted()).to.include.members(
        [...room.state.keys()].map((key) => key.replace('\0', ' ')),
      );
    });

  it('invites of a new room go to several servers at the same time', async () => {
    // The first one answers when the other one was asked.
    p.on('PUT', '/_matrix/federation/v2/invite/**', async () => {
      await q.request('PUT', /\/invite\//);
      return { status: 403, body: { errcode: 'M_FORBIDDEN', error: 'not this one' } };
    });
    q.on('PUT', '/_matrix/federation/v2/invite/**', () => ({
      status: 403,
      body: { errcode: 'M_FORBIDDEN', error: 'not this one' },
    }));
    const roomId = await a.room('alice', { invite: ['@x:p.test', '@y:q.test'] });
    expect(await joinedRooms()).to.include(roomId);
  });
});
