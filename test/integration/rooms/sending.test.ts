import { expect } from 'chai';
import { type Answer, type Json, InProcessServer } from '#test/support/in-process-server.ts';

describe('sending into rooms', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const put = (token: string, path: string, body: unknown = {}): Promise<Answer> =>
    server.ask(token, 'PUT', path, body);
  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<void> => {
    const { status: actual, body } = await answer;
    expect([actual, body?.errcode]).to.deep.equal([status, errcode]);
  };
  const event = (token: string, roomId: string, eventId: string): Promise<Json> =>
    server.must(token, 'GET', `/rooms/${roomId}/event/${encodeURIComponent(eventId)}`);

  it('takes one statement at most when the room is warm', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    await server.say('alice', roomId, 'warm');
    await server.say('bob', roomId, 'warm');
    expect(await server.statements(() => server.say('alice', roomId, 'one'))).to.equal(1);
    const { roomSending } = server.services;
    const send = (i: number): Promise<string> => {
      const sender = { userId: i % 2 === 0 ? '@alice:test' : '@bob:test', deviceId: 'DEVICE' };
      return roomSending.message(
        sender,
        { roomId, type: 'm.room.message', content: { msgtype: 'm.text', body: String(i) } },
        `at once ${i}`,
      );
    };
    const together = await server.statements(() => Promise.all(Array.from({ length: 64 }, (_, i) => send(i))));
    expect(together / 64).to.be.at.most(0.3);
  });

  describe('under a transaction id', () => {
    it('makes one event for one device and room, whatever the content, also after a restart', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      const path = `/rooms/${roomId}/send/m.room.message/same`;
      const send = async (token: string, body: string): Promise<string> =>
        (await server.must(token, 'PUT', path, { msgtype: 'm.text', body })).event_id;
      const first = await send('alice', 'a');
      expect(await send('alice', 'b')).to.equal(first);
      await server.restart();
      expect(await send('alice', 'c')).to.equal(first);
      expect(await send('alice/PHONE', 'd')).not.to.equal(first);
      const other = await server.room('alice');
      expect(
        (
          await server.must('alice', 'PUT', `/rooms/${other}/send/m.room.message/same`, {
            msgtype: 'm.text',
            body: 'e',
          })
        ).event_id,
      ).not.to.equal(first);
      expect((await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.other/same`, {})).event_id).not.to.equal(
        first,
      );
    });
    it('answers what is repeated by its id before its body is looked at', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await server.join('bob', roomId);
      const sending = `/rooms/${roomId}/send/m.room.message/again`;
      const sent = await server.must('bob', 'PUT', sending, { msgtype: 'm.text', body: 'once' });
      const redacting = `/rooms/${roomId}/redact/${encodeURIComponent(sent.event_id)}/again`;
      const redacted = await server.must('bob', 'PUT', redacting, {});
      const bodies = ['no JSON', '[]', '{"a":1.5}', '{"reason":7}', `{"a":"${'x'.repeat(70_000)}"}`];
      const repeat = async (): Promise<void> => {
        for (const raw of bodies) {
          expect(await server.askRaw('bob', 'PUT', sending, raw), raw.slice(0, 20)).to.deep.equal({
            status: 200,
            body: sent,
          });
          expect(await server.askRaw('bob', 'PUT', redacting, raw), raw.slice(0, 20)).to.deep.equal({
            status: 200,
            body: redacted,
          });
        }
      };
      await repeat();
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      await server.restart();
      await repeat();
      expect(await server.must('bob', 'PUT', sending, { msgtype: 'm.text', body: 'gone' })).to.deep.equal(sent);
      for (const [token, path] of [
        ['alice', sending],
        ['bob/PHONE', sending],
        ['bob', `/rooms/${roomId}/send/m.other/again`],
        ['bob', `/rooms/${roomId}/send/m.room.message/other`],
      ] as const) {
        const { status, body } = await server.askRaw(token, 'PUT', path, 'no JSON');
        expect([status, body.errcode], `${token} ${path}`).to.deep.equal([400, 'M_NOT_JSON']);
      }
    });
    it('answers the delayed event that was scheduled before, whatever the body is now', async () => {
      const roomId = await server.room('alice');
      const base = `/unstable/org.matrix.msc4140/rooms/${roomId}/delayed_event/m.room.message/again`;
      for (const [path, body] of [
        [`/rooms/${roomId}/send/m.room.message/again?org.matrix.msc4140.delay=60000`, { msgtype: 'm.text', body: 'x' }],
        [base, { delay_ms: 60_000, content: { msgtype: 'm.text', body: 'x' } }],
      ] as const) {
        const first = await server.must('alice', 'PUT', path, body);
        expect(first.delay_id).to.be.a('string');
        expect(await server.askRaw('alice', 'PUT', path, 'no JSON')).to.deep.equal({ status: 200, body: first });
      }
    });
    it('answers one event to requests at the same time', async () => {
      const roomId = await server.room('alice');
      const ids = await Promise.all(
        Array.from(
          { length: 6 },
          async () => (await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.x/race`, {})).event_id,
        ),
      );
      expect(new Set(ids).size).to.equal(1);
    });
    it('shows transaction_id to the device that sent it and to no other', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await server.join('bob', roomId);
      const { event_id: eventId } = await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.x/mine`, {});
      expect((await event('alice', roomId, eventId)).unsigned.transaction_id).to.equal('mine');
      expect((await event('alice/PHONE', roomId, eventId)).unsigned.transaction_id).to.equal(undefined);
      expect((await event('bob', roomId, eventId)).unsigned.transaction_id).to.equal(undefined);
      const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=1`);
      expect(page.chunk[0].unsigned.transaction_id).to.equal('mine');
    });
    it('can be used again after it failed', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await refused(put('bob', `/rooms/${roomId}/send/m.x/retry`), 403, 'M_FORBIDDEN');
      await server.join('bob', roomId);
      await server.must('bob', 'PUT', `/rooms/${roomId}/send/m.x/retry`, {});
    });
  });

  it('is forbidden to those who are not there, and in rooms that do not exist', async () => {
    const roomId = await server.room('alice');
    await refused(put('bob', `/rooms/${roomId}/send/m.x/1`), 403, 'M_FORBIDDEN');
    await refused(put('bob', `/rooms/!nothing:test/send/m.x/1`), 403, 'M_FORBIDDEN');
    await refused(put('bob', `/rooms/${roomId}/state/m.room.name/`, { name: 'x' }), 403, 'M_FORBIDDEN');
  });

  it('answers 413 M_TOO_LARGE for more than 64 KiB, to send and to state', async () => {
    const roomId = await server.room('alice');
    // The first fits as content, but not as an event.
    for (const size of [65_200, 70_000]) {
      const body = { body: 'x'.repeat(size) };
      await refused(put('alice', `/rooms/${roomId}/send/m.x/big${size}`, body), 413, 'M_TOO_LARGE');
      await refused(put('alice', `/rooms/${roomId}/state/m.x/`, body), 413, 'M_TOO_LARGE');
    }
    await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.x/fits`, { body: 'x'.repeat(60_000) });
  });

  it('limits state keys to 255 code points up to v10, and to 255 bytes from v11', async () => {
    const wide = '集'.repeat(200);
    const old = await server.room('alice', { room_version: '10' });
    await server.setState('alice', old, 'm.x', {}, wide);
    await refused(put('alice', `/rooms/${old}/state/m.x/${'a'.repeat(256)}`), 413, 'M_TOO_LARGE');
    const now = await server.room('alice', { room_version: '11' });
    await refused(put('alice', `/rooms/${now}/state/m.x/${encodeURIComponent(wide)}`), 413, 'M_TOO_LARGE');
    await server.setState('alice', now, 'm.x', {}, 'a'.repeat(255));
  });

  it('answers 400 M_BAD_JSON for floats, large integers and what is no object', async () => {
    const roomId = await server.room('alice');
    for (const body of [{ a: 1.5 }, { a: 2 ** 53 }, 'text', [1]]) {
      await refused(put('alice', `/rooms/${roomId}/send/m.x/bad`, body), 400, 'M_BAD_JSON');
      await refused(put('alice', `/rooms/${roomId}/state/m.x/`, body), 400, 'M_BAD_JSON');
    }
  });

  it('lets only bridges choose the time of their events', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('as-bridge', roomId);
    const stamp = async (token: string): Promise<number> => {
      const { event_id: eventId } = await server.must(token, 'PUT', `/rooms/${roomId}/send/m.x/ts?ts=1234`, {});
      return (await event('alice', roomId, eventId)).origin_server_ts;
    };
    expect(await stamp('as-bridge')).to.equal(1234);
    expect(await stamp('alice')).not.to.equal(1234);
  });

  describe('state', () => {
    it('that is there already keeps its event', async () => {
      const roomId = await server.room('alice');
      const first = await server.setState('alice', roomId, 'm.room.name', { name: 'a' });
      expect(await server.setState('alice', roomId, 'm.room.name', { name: 'a' })).to.equal(first);
      expect(await server.setState('alice', roomId, 'm.room.name', { name: 'b' })).not.to.equal(first);
      await server.restart();
      const second = await server.setState('alice', roomId, 'm.room.name', { name: 'c' });
      expect(await server.setState('alice', roomId, 'm.room.name', { name: 'c' })).to.equal(second);
    });
    it('that somebody else is just setting is answered when it is there, not before', async () => {
      const { events, rooms } = server.services;
      const room = await rooms.byId(await server.room('alice'));
      if (room === undefined) throw new Error('the room is missing');
      const draft = { type: 'm.room.topic', sender: '@alice:test', stateKey: '', content: { topic: 'same' } };
      const first = events.send(room, draft);
      const second = await events.send(room, draft);
      expect(room.stateEvent('m.room.topic')?.eventId).to.equal(second.eventId);
      expect((await first).eventId).to.equal(second.eventId);
    });
    it('is set with and without a state key in the path', async () => {
      const roomId = await server.room('alice');
      for (const path of ['m.x', 'm.x/', 'm.x/key'])
        await server.must('alice', 'PUT', `/rooms/${roomId}/state/${path}`, { at: path });
      expect(await server.must('alice', 'GET', `/rooms/${roomId}/state/m.x`)).to.deep.equal({ at: 'm.x/' });
      expect(await server.must('alice', 'GET', `/rooms/${roomId}/state/m.x/key`)).to.deep.equal({ at: 'm.x/key' });
    });
    it('cannot hold a second m.room.create: 400', async () => {
      for (const version of ['11', '12']) {
        const roomId = await server.room('alice', { room_version: version });
        expect((await put('alice', `/rooms/${roomId}/state/m.room.create/`, {})).status).to.equal(400);
        expect((await put('alice', `/rooms/${roomId}/send/m.room.create/1`, {})).status).to.equal(400);
      }
    });
    it('follows the rules of membership for m.room.member', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      const member = (token: string, userId: string, membership: unknown): Promise<Answer> =>
        put(token, `/rooms/${roomId}/state/m.room.member/${userId}`, { membership });
      expect((await member('bob', '@bob:test', 'join')).status).to.equal(200);
      await refused(member('alice', '@carol:test', 'join'), 403, 'M_FORBIDDEN');
      await refused(member('bob', '@alice:test', 'leave'), 403, 'M_FORBIDDEN');
      await refused(member('bob', '@bob:test', 'nonsense'), 400, 'M_BAD_JSON');
      await refused(member('bob', '@bob:test', 7), 400, 'M_BAD_JSON');
    });
  });

  describe('redactions', () => {
    it('are allowed of own events and to those with the power, and 403 otherwise', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await server.join('bob', roomId);
      const hers = await server.say('alice', roomId, 'hers');
      const his = await server.say('bob', roomId, 'his');
      const redact = (token: string, eventId: string, txn: string): Promise<Answer> =>
        put(token, `/rooms/${roomId}/redact/${encodeURIComponent(eventId)}/${txn}`, { reason: 'r' });
      await refused(redact('bob', hers, '1'), 403, 'M_FORBIDDEN');
      expect((await redact('alice', his, '2')).status).to.equal(200);
      expect((await event('bob', roomId, his)).content).to.deep.equal({});
      const first = await redact('alice', hers, '3');
      expect((await redact('alice', hers, '3')).body).to.deep.equal(first.body);
    });
    it('of an event that is not known are 200, and one of another room is left alone', async () => {
      const roomId = await server.room('alice');
      const other = await server.room('alice');
      const message = await server.say('alice', other, 'safe');
      await server.must('alice', 'PUT', `/rooms/${roomId}/redact/${encodeURIComponent('$unknown')}/1`, {});
      await server.must('alice', 'PUT', `/rooms/${roomId}/redact/${encodeURIComponent(message)}/2`, {});
      expect((await event('alice', other, message)).content.body).to.equal('safe');
    });
    it('may be sent as events, and survive a restart', async () => {
      const roomId = await server.room('alice');
      const message = await server.say('alice', roomId, 'gone soon');
      await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.redaction/1`, { redacts: message, reason: 'x' });
      await server.restart();
      const served = await event('alice', roomId, message);
      expect(served.content).to.deep.equal({});
      expect(served.unsigned.redacted_because.content).to.deep.equal({ reason: 'x', redacts: message });
    });
  });
});
