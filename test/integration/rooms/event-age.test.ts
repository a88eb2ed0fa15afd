import { expect } from 'chai';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

const MINUTE = 60_000;

describe('the age of events', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let room: string;
  let count = 0;

  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());
  beforeEach(async () => (room = await server.room('alice', { preset: 'public_chat' })));

  const relate = async (relType: string, target: string, content: object): Promise<string> => {
    const path = `/rooms/${room}/send/m.room.message/r${(count += 1)}`;
    const relates = { rel_type: relType, event_id: target };
    return (
      await server.must('alice', 'PUT', path, { msgtype: 'm.text', body: 'x', ...content, 'm.relates_to': relates })
    ).event_id;
  };
  const of = (id: string): string => encodeURIComponent(id);
  const get = (path: string): Promise<Json> => server.must('alice', 'GET', path);

  it('is told wherever an event is, and counted anew for each answer', async () => {
    const id = await server.say('alice', room, '古い');
    await relate('m.thread', id, {});
    for (const age of [4 * MINUTE, 5 * MINUTE]) {
      await server.clock.advance(age === 4 * MINUTE ? age : MINUTE);
      const members = await get(`/rooms/${room}/members`);
      const state = await get(`/rooms/${room}/state`);
      const context = await get(`/rooms/${room}/context/${of(id)}`);
      const shown: Json[] = [
        await get(`/rooms/${room}/event/${of(id)}`),
        ...(await get(`/rooms/${room}/messages?dir=b`)).chunk,
        context.event,
        ...context.events_before,
        ...context.state,
        ...members.chunk,
        ...state,
        ...(await get(`/v1/rooms/${room}/relations/${of(id)}`)).chunk,
        ...(await get(`/v1/rooms/${room}/threads`)).chunk,
        await get(`/rooms/${room}/state/m.room.create/?format=event`),
      ];
      for (const event of shown)
        expect(event.unsigned?.age, `${event.type} ${JSON.stringify(event.unsigned)}`).to.equal(age);
    }
  });

  it('is told of events within events', async () => {
    const id = await server.say('alice', room, 'one');
    await server.clock.advance(MINUTE);
    await relate('m.replace', id, { 'm.new_content': { msgtype: 'm.text', body: 'two' } });
    await server.clock.advance(MINUTE);
    const edited = await get(`/rooms/${room}/event/${of(id)}`);
    expect(edited.unsigned.age).to.equal(2 * MINUTE);
    expect(edited.unsigned['m.relations']['m.replace'].unsigned.age).to.equal(MINUTE);
    await server.must('alice', 'PUT', `/rooms/${room}/redact/${of(id)}/x${(count += 1)}`, {});
    await server.clock.advance(MINUTE);
    const redacted = await get(`/rooms/${room}/event/${of(id)}`);
    expect(redacted.unsigned.age).to.equal(3 * MINUTE);
    expect(redacted.unsigned.redacted_because.unsigned.age).to.equal(MINUTE);
  });
});
