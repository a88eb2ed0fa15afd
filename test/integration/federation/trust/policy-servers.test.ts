import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { signedEventText } from '#src/protocol/events/event-hashes.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { signText, verifyText, withSignature } from '#src/protocol/signing/json-signatures.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import type { PartnerAnswer, PartnerRequest } from '#test/support/federation/remote-partner.ts';
import { until } from '#test/support/until.ts';

const PAT = '@pat:p.test';
const QUINN = '@quinn:q.test';
const SIGN = /^\/_matrix\/policy\/v1\/sign$/;
const KEY_ID = 'ed25519:policy_server';

describe('policy servers', function () {
  this.timeout(60_000);
  const key = generateSigningKey((count) => systemRandom.bytes(count));
  let federation: Federation;
  let a: InProcessServer;
  /** Is the policy server of rooms. */
  let p: RemotePartner;
  /** Has users who send events. */
  let q: RemotePartner;
  let rooms = 0;
  /** How the policy server answers, after it has seen the event. */
  let answer: (request: PartnerRequest) => PartnerAnswer | Promise<PartnerAnswer>;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test', 'q.test'] });
    a = federation.server('a.test');
    p = federation.partner('p.test');
    q = federation.partner('q.test');
    p.on('POST', SIGN, (request) => answer(request));
    for (const partner of [p, q]) partner.on('PUT', '/_matrix/federation/v1/send/*', () => ({ body: { pdus: {} } }));
    q.on('PUT', /\/_matrix\/federation\/v2\/invite\/.*/, ({ body }) => ({
      body: { event: countersigned(body.event, body.room_version) },
    }));
  });
  beforeEach(() => {
    answer = ({ body }) => ({ body: signatureFor(body) });
  });
  after(() => federation?.stop());

  let version = '12';
  const signatureFor = (pdu: JsonObject, by = key): JsonObject => ({
    'p.test': { [KEY_ID]: signText(signedEventText(roomVersion(version)!, pdu), by) },
  });
  const countersigned = (pdu: JsonObject, id: string): JsonObject =>
    withSignature(pdu, 'q.test', q.signingKey.keyId, signText(signedEventText(roomVersion(id)!, pdu), q.signingKey));
  const forbidden = (): PartnerAnswer => ({
    status: 400,
    body: { errcode: 'M_FORBIDDEN', error: 'The message appears to contain possible spam' },
  });
  const asked = (roomId: string): Json[] =>
    p.requests('POST', SIGN).flatMap(({ body }) => (body.room_id === roomId ? [body] : []));
  const bodies = async (roomId: string): Promise<string[]> =>
    a.bodies(await a.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=100`));
  const pduOf = async (eventId: string): Promise<Pdu> => {
    const path = `/_matrix/federation/v1/event/${encodeURIComponent(eventId)}`;
    return (await q.send('a.test', 'GET', path)).body.pdus[0];
  };
  const isSigned = (pdu: JsonObject): boolean => {
    const own = (pdu['signatures'] as Record<string, Record<string, string>>)['p.test'];
    const text = signedEventText(roomVersion(version)!, pdu);
    return verifyText(text, own?.[KEY_ID] ?? '', { bytes: Buffer.from(key.publicKey, 'base64') });
  };
  const use = (roomId: string, content: object = { via: 'p.test', public_keys: { ed25519: key.publicKey } }) =>
    a.setState('alice', roomId, 'm.room.policy', content);
  const send = (roomId: string, body: string) =>
    a.ask('alice', 'PUT', `/rooms/${roomId}/send/m.room.message/${systemRandom.string(8)}`, {
      msgtype: 'm.text',
      body,
    });
  /** A room with users of both partners in it. */
  const room = async (id = '12', users: readonly string[] = [PAT, QUINN]): Promise<PartnerRoom> => {
    version = id;
    rooms += 1;
    const roomId = await a.room('alice', {
      preset: 'public_chat',
      room_version: id,
      creation_content: { n: rooms },
    });
    await PartnerRoom.join(a, p, roomId, users.includes(PAT) ? [PAT] : []);
    return PartnerRoom.join(a, q, roomId, users.includes(QUINN) ? [QUINN] : []);
  };
  /** The same, which uses the policy server. */
  const policedRoom = async (id?: string): Promise<PartnerRoom> => {
    const made = await room(id);
    await use(made.roomId);
    await made.catchUp();
    return made;
  };
  const signed = (event: IdentifiedPdu, by = key): IdentifiedPdu => ({
    ...event,
    pdu: withSignature(
      event.pdu,
      'p.test',
      KEY_ID,
      (signatureFor(event.pdu, by) as Record<string, Record<string, string>>)['p.test']![KEY_ID]!,
    ) as Pdu,
  });

  describe('and events of users of this server', () => {
    for (const id of ['1', '3', '10', '12'])
      it(`are signed by the room's policy server before anybody is sent them, and keep that signature (room version ${id})`, async () => {
        const { roomId } = await policedRoom(id);
        let seen: readonly string[] | undefined;
        answer = async ({ body }) => {
          seen = await bodies(roomId);
          return { body: signatureFor(body) };
        };
        const { body, status } = await send(roomId, 'hello');
        expect(status).to.equal(200);
        expect(seen).to.deep.equal([]);
        expect(asked(roomId).map(({ content }) => content.body)).to.deep.equal(['hello']);
        expect(await bodies(roomId)).to.deep.equal(['hello']);
        expect(isSigned(await pduOf(body.event_id))).to.equal(true);
        const sent = await until('the event at q.test', () =>
          q
            .requests('PUT', /\/send\//)
            .flatMap((request) => request.body.pdus as Json[])
            .find((pdu) => pdu.room_id === roomId && pdu.content.body === 'hello'),
        );
        expect(isSigned(sent)).to.equal(true);
        expect(Object.keys(sent.signatures).sort()).to.deep.equal(['a.test', 'p.test']);
        // What comes after an event that was signed comes after it.
        const next = await send(roomId, 'again');
        expect(JSON.stringify((await pduOf(next.body.event_id)).prev_events)).to.contain(body.event_id);
      });

    it('are refused with the very error of a policy server that does not sign them, and sent to nobody', async () => {
      const { roomId } = await policedRoom();
      answer = forbidden;
      expect(await send(roomId, 'spam')).to.deep.include({
        status: 403,
        body: { errcode: 'M_FORBIDDEN', error: 'The message appears to contain possible spam' },
      });
      answer = () => ({ status: 429, body: { errcode: 'M_LIMIT_EXCEEDED', error: 'Slowly.', retry_after_ms: 4_000 } });
      const limited = await send(roomId, 'spam');
      expect(limited.status).to.equal(429);
      expect(limited.body).to.deep.include({ errcode: 'M_LIMIT_EXCEEDED', error: 'Slowly.', retry_after_ms: 4_000 });
      await federation.idle();
      expect(await bodies(roomId)).to.deep.equal([]);
      const sent = q.requests('PUT', /\/send\//).flatMap((request) => request.body.pdus as Json[]);
      expect(sent.filter((pdu) => pdu.room_id === roomId && pdu.content.body === 'spam')).to.deep.equal([]);
      const memberships = await a.ask('alice', 'PUT', `/rooms/${roomId}/state/m.room.name`, { name: 'x' });
      expect(memberships.status).to.equal(429);
    });

    it('are refused when the signature is none by the key in the room, is missing, or the room names a key that is none', async () => {
      const { roomId } = await policedRoom();
      const other = generateSigningKey((count) => systemRandom.bytes(count));
      answer = ({ body }) => ({ body: signatureFor(body, other) });
      expect(await send(roomId, 'x')).to.deep.include({ status: 403 });
      for (const body of [{}, { 'p.test': 7 }, { 'p.test': { 'ed25519:other': 'x' } }]) {
        answer = () => ({ body });
        expect((await send(roomId, 'x')).status).to.equal(502);
      }
      await use(roomId, { via: 'p.test', public_keys: { ed25519: 'short' } });
      const before = asked(roomId).length;
      expect((await send(roomId, 'x')).status).to.equal(403);
      expect(asked(roomId).length).to.equal(before);
      expect(await bodies(roomId)).to.deep.equal([]);
    });

    it('are refused while the policy server cannot be reached, and it can be switched off without it', async () => {
      const { roomId } = await policedRoom();
      federation.cut('a.test', 'p.test');
      try {
        const { status, body } = await send(roomId, 'x');
        expect([status, body.errcode]).to.deep.equal([502, 'M_CONNECTION_FAILED']);
        await use(roomId, {});
        expect((await send(roomId, 'free')).status).to.equal(200);
        expect(await bodies(roomId)).to.deep.equal(['free']);
      } finally {
        federation.heal('a.test', 'p.test');
        await federation.clock.advance(3_600_000);
      }
    });

    it('are not shown to a server that is not in the room, or of which the state says too little', async () => {
      const { roomId } = await room('12', [QUINN]);
      await use(roomId);
      expect((await send(roomId, 'one')).status).to.equal(200);
      const { roomId: other } = await room();
      for (const content of [
        { via: 'p.test' },
        { public_keys: { ed25519: key.publicKey } },
        { via: 'p.test', public_keys: {} },
      ]) {
        await use(other, content);
        expect((await send(other, 'two')).status).to.equal(200);
      }
      expect([...asked(roomId), ...asked(other)]).to.deep.equal([]);
    });

    it('are all signed but the m.room.policy with an empty state key', async () => {
      const { roomId } = await policedRoom();
      await use(roomId, { via: 'p.test', public_keys: { ed25519: key.publicKey }, more: 1 });
      await a.setState('alice', roomId, 'm.room.policy', { via: 'p.test', public_keys: {} }, 'other');
      await a.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.policy/t`, {});
      await a.setState('alice', roomId, 'm.room.topic', { topic: 'x' });
      await a.join('bob', roomId);
      const types = asked(roomId).map(({ state_key: stateKey, type }) => [type, stateKey]);
      const bob = (await a.session('bob')).userId;
      expect(types).to.deep.equal([
        ['m.room.policy', 'other'],
        ['m.room.policy', undefined],
        ['m.room.topic', ''],
        ['m.room.member', bob],
      ]);
      // State that is there already is no event.
      await a.setState('alice', roomId, 'm.room.topic', { topic: 'x' });
      expect(asked(roomId).length).to.equal(4);
    });

    it('stay what was signed when others come to the room meanwhile, and the next one comes after both', async () => {
      const made = await policedRoom();
      const { roomId } = made;
      const { promise: goOn, resolve } = Promise.withResolvers<void>();
      answer = async ({ body }) => {
        if (body.content.body === 'slow') await goOn;
        return { body: signatureFor(body) };
      };
      const slow = send(roomId, 'slow');
      await p.request('POST', SIGN, ({ body }) => body.content.body === 'slow');
      const remote = signed(made.say(QUINN, 'meanwhile'));
      await made.send([remote]);
      expect(await bodies(roomId)).to.deep.equal(['meanwhile']);
      resolve();
      const { body } = await slow;
      expect(asked(roomId).filter(({ content }) => content.body === 'slow').length).to.equal(1);
      expect(await bodies(roomId)).to.deep.equal(['slow', 'meanwhile']);
      const next = await pduOf((await send(roomId, 'next')).body.event_id);
      expect([...next.prev_events].sort()).to.deep.equal([remote.eventId, body.event_id].sort());
      await made.catchUp();
      await a.restart();
      expect(await bodies(roomId)).to.deep.equal(['next', 'slow', 'meanwhile']);
    });

    it('are signed anew when the state of the room changes meanwhile', async () => {
      const made = await policedRoom();
      const { roomId } = made;
      const { promise: goOn, resolve } = Promise.withResolvers<void>();
      answer = async ({ body }) => {
        if (body.content.body === 'slow') await goOn;
        return { body: signatureFor(body) };
      };
      const slow = send(roomId, 'slow');
      await p.request('POST', SIGN, ({ body }) => body.room_id === roomId && body.content.body === 'slow');
      await a.setState('alice', roomId, 'm.room.topic', { topic: 'x' });
      resolve();
      const { body } = await slow;
      expect(isSigned(await pduOf(body.event_id))).to.equal(true);
      expect(asked(roomId).filter(({ content }) => content.body === 'slow').length).to.equal(2);
      await made.catchUp();
    });

    it('that are sent at the same time all come, and few forks are left', async () => {
      const made = await policedRoom();
      const { roomId } = made;
      const texts = Array.from({ length: 30 }, (_, index) => `m${index}`);
      const answers = await Promise.all(texts.map((text) => send(roomId, text)));
      expect(answers.map(({ status }) => status)).to.deep.equal(texts.map(() => 200));
      expect((await bodies(roomId)).toSorted()).to.deep.equal(texts.toSorted());
      await made.catchUp();
      expect(made.extremities.length).to.be.at.most(8);
    });

    for (const id of ['1', '12'])
      it(`that are committed together are signed each, and none is written when one is refused (room version ${id})`, async () => {
        const made = await policedRoom(id);
        const { roomId } = made;
        const { events, rooms: registry } = a.services;
        const here = (await registry.byId(roomId))!;
        const sender = (await a.session('alice')).userId;
        const drafts = ['one', 'two', 'three'].map((body) => ({
          type: 'm.room.message',
          sender,
          content: { msgtype: 'm.text', body },
        }));
        answer = ({ body }) => (body.content.body === 'three' ? forbidden() : { body: signatureFor(body) });
        const refusal = await events.sendAll(here, drafts).then(
          () => undefined,
          (error: Error) => error.message,
        );
        expect(refusal).to.equal('The message appears to contain possible spam');
        expect(await bodies(roomId)).to.deep.equal([]);
        answer = ({ body }) => ({ body: signatureFor(body) });
        const sent = await events.sendAll(here, drafts);
        expect(await bodies(roomId)).to.deep.equal(['three', 'two', 'one']);
        for (const { eventId } of sent) expect(isSigned(await pduOf(eventId))).to.equal(true);
        await made.catchUp();
        expect(made.extremities).to.deep.equal([sent.at(-1)!.eventId]);
      });

    it('in rooms without a policy server are asked about nowhere', async () => {
      const { roomId } = await room();
      await send(roomId, 'x');
      expect(asked(roomId)).to.deep.equal([]);
    });

    it('that invite somebody of another server are signed before that server is sent them', async () => {
      const { roomId } = await policedRoom('10');
      const invite = (userId: string) => a.ask('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: userId });
      const invited = (): Json[] =>
        q.requests('PUT', /\/v2\/invite\//).flatMap(({ body }) => (body.event.room_id === roomId ? [body.event] : []));
      answer = forbidden;
      expect((await invite('@new:q.test')).status).to.equal(403);
      expect(invited()).to.deep.equal([]);
      answer = ({ body }) => ({ body: signatureFor(body) });
      expect((await invite('@new:q.test')).status).to.equal(200);
      expect(invited().map(isSigned)).to.deep.equal([true]);
    });
  });

  describe('and events of other servers', () => {
    it('are accepted without a question when they carry a signature by the key in the room', async () => {
      const made = await policedRoom();
      answer = forbidden;
      await made.send([signed(made.say(QUINN, 'fine'))]);
      expect(await bodies(made.roomId)).to.deep.equal(['fine']);
      expect(asked(made.roomId)).to.deep.equal([]);
    });

    for (const id of ['3', '12'])
      it(`are asked about where the signature is missing or wrong, and passed on with the one that comes (room version ${id})`, async () => {
        const made = await policedRoom(id);
        const other = generateSigningKey((count) => systemRandom.bytes(count));
        const events = [made.say(QUINN, 'one'), signed(made.say(QUINN, 'two'), other)];
        await made.send(events);
        expect(await bodies(made.roomId)).to.deep.equal(['two', 'one']);
        expect(asked(made.roomId).length).to.equal(2);
        for (const { eventId } of events) expect(isSigned(await pduOf(eventId))).to.equal(true);
        // The policy server's own events keep the signature of its server.
        const own = made.say(PAT, 'three');
        await made.send([own]);
        const stored = (await pduOf(own.eventId)).signatures as Record<string, JsonObject>;
        expect(Object.keys(stored['p.test']!).sort()).to.deep.equal([p.signingKey.keyId, KEY_ID].sort());
      });

    it('are soft-failed when the policy server refuses them, and what comes after them is judged for itself', async () => {
      const made = await policedRoom();
      answer = ({ body }) => (body.content.body === 'spam' ? forbidden() : { body: signatureFor(body) });
      const spam = made.say(QUINN, 'spam');
      const { body } = await made.send([spam, made.say(QUINN, 'fine')]);
      expect(body.pdus[spam.eventId]).to.deep.equal({});
      expect(await bodies(made.roomId)).to.deep.equal(['fine']);
      // They stay out, and nobody is asked a second time.
      const before = asked(made.roomId).length;
      await made.send([spam]);
      expect(await bodies(made.roomId)).to.deep.equal(['fine']);
      expect(asked(made.roomId).length).to.equal(before);
    });

    it('stay hidden when they are sticky and were refused, also when the state that authorises them changes', async () => {
      const made = await policedRoom();
      answer = ({ body }) => (body.content.body === 'spam' ? forbidden() : { body: signatureFor(body) });
      await made.send([made.say(QUINN, 'spam', { stickyDurationMs: 600_000 })]);
      await a.setState('alice', made.roomId, 'm.room.power_levels', { users: { [QUINN]: 1 } });
      await a.idle();
      expect(await bodies(made.roomId)).to.deep.equal([]);
      // Without a policy server it would have come.
      await use(made.roomId, {});
      await a.setState('alice', made.roomId, 'm.room.power_levels', { users: { [QUINN]: 2 } });
      await until('the sticky event', async () => (await bodies(made.roomId)).includes('spam'));
    });

    it('change the m.room.policy of the room without being asked about, and what follows is judged by that', async () => {
      const made = await policedRoom();
      await a.setState('alice', made.roomId, 'm.room.power_levels', {
        users: { [QUINN]: 50 },
        events: { 'm.room.policy': 50 },
      });
      await made.catchUp();
      answer = forbidden;
      const before = asked(made.roomId).length;
      const off = made.make({ type: 'm.room.policy', sender: QUINN, stateKey: '', content: {} });
      await made.send([off]);
      await made.send([made.say(QUINN, 'free')]);
      expect(await bodies(made.roomId)).to.deep.equal(['free']);
      const on = made.make({
        type: 'm.room.policy',
        sender: QUINN,
        stateKey: '',
        content: { via: 'p.test', public_keys: { ed25519: key.publicKey } },
      });
      // In one transaction: when the events come it is not known yet that there is a policy server.
      await made.send([on, made.say(QUINN, 'spam')]);
      expect(await bodies(made.roomId)).to.deep.equal(['free']);
      expect(asked(made.roomId).length).to.equal(before + 1);
    });

    it('are acknowledged while the policy server is slow, and other rooms are not delayed', async () => {
      const made = await policedRoom();
      const others: PartnerRoom[] = [];
      for (let i = 0; i < 5; i++) others.push(await policedRoom());
      const free = await room();
      const { promise: goOn, resolve } = Promise.withResolvers<void>();
      answer = async ({ body }) => {
        await goOn;
        return { body: signatureFor(body) };
      };
      const transact = async (one: PartnerRoom, text: string): Promise<void> => {
        const event = one.say(QUINN, text);
        expect((await q.transact('a.test', { pdus: [event.pdu] })).body.pdus).to.deep.equal({ [event.eventId]: {} });
      };
      for (const one of [made, ...others]) await transact(one, 'waits');
      await until('all rooms to be asked about', () => others.every(({ roomId }) => asked(roomId).length === 1));
      await transact(free, 'goes on');
      await until('the event in the other room', async () => (await bodies(free.roomId)).length === 1);
      expect(await bodies(made.roomId)).to.deep.equal([]);
      resolve();
      await a.idle();
      for (const one of [made, ...others]) expect(await bodies(one.roomId)).to.deep.equal(['waits']);
    });

    it('are soft-failed while the policy server cannot be reached', async () => {
      const made = await policedRoom();
      federation.cut('a.test', 'p.test');
      try {
        await made.send([made.say(QUINN, 'unsigned'), signed(made.say(QUINN, 'signed'))]);
        expect(await bodies(made.roomId)).to.deep.equal(['signed']);
      } finally {
        federation.heal('a.test', 'p.test');
        await federation.clock.advance(3_600_000);
      }
    });
  });
});
