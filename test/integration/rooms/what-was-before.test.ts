import { expect } from 'chai';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

describe('prev_content and replaced state', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let roomId: string;

  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());
  beforeEach(async () => (roomId = await server.room('alice', { preset: 'public_chat' })));

  const visible = (to: string): Promise<string> =>
    server.setState('alice', roomId, 'm.room.history_visibility', { history_visibility: to });
  const topic = (text: string): Promise<string> => server.setState('alice', roomId, 'm.room.topic', { topic: text });
  const leave = (who: string): Promise<Json> => server.must(who, 'POST', `/rooms/${roomId}/leave`, {});
  const invite = (who: string): Promise<Json> =>
    server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: `@${who}:test` });
  const event = (reader: string, eventId: string): Promise<Json> =>
    server.must(reader, 'GET', `/rooms/${roomId}/event/${encodeURIComponent(eventId)}`);
  const stateIn = (events: readonly Json[], type: string): Json => events.find((one) => one.type === type);

  /** Bob was there, left, was invited again and declined: that second invitation he may see, and nothing else of the time in between. */
  const declined = async (): Promise<string> => {
    await visible('invited');
    await topic('while bob was there');
    await server.join('bob', roomId);
    await leave('bob');
    await topic('secret');
    await server.setState('alice', roomId, 'org.example.secret', { key: 'word' });
    await server.must('carol', 'POST', `/rooms/${roomId}/join`, {});
    await invite('bob');
    const { chunk } = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=1`);
    await leave('bob');
    return chunk[0].event_id;
  };

  describe('around an event', () => {
    it('ends where the reader left the room, though they may see the event', async () => {
      const invitation = await declined();
      for (const filter of [{}, { lazy_load_members: true }]) {
        const query = `limit=0&filter=${encodeURIComponent(JSON.stringify(filter))}`;
        const { state } = await server.must('bob', 'GET', `/rooms/${roomId}/context/${invitation}?${query}`);
        expect(stateIn(state, 'm.room.topic').content).to.deep.equal({ topic: 'while bob was there' });
        expect(stateIn(state, 'org.example.secret')).to.equal(undefined);
        const members = state.filter((one: Json) => one.type === 'm.room.member');
        expect(members.map((one: Json) => one.state_key)).not.to.include('@carol:test');
      }
    });

    it('is the one at the event for those who are there', async () => {
      const invitation = await declined();
      await topic('later');
      const { state } = await server.must('alice', 'GET', `/rooms/${roomId}/context/${invitation}?limit=0`);
      expect(stateIn(state, 'm.room.topic').content).to.deep.equal({ topic: 'secret' });
    });
  });

  describe('by an event that replaced it', () => {
    const tellsOf = async (reader: string, eventId: string, hasLeft = false): Promise<string | undefined> => {
      const { unsigned } = await event(reader, eventId);
      const { chunk } = await server.must(reader, 'GET', `/rooms/${roomId}/messages?dir=b&limit=50`);
      const inPage = chunk.find((one: Json) => one.event_id === eventId);
      // Pages of those who left end there.
      if (!hasLeft) {
        expect(inPage.unsigned.prev_content, 'in a page').to.deep.equal(unsigned.prev_content);
        expect(inPage.unsigned.replaces_state).to.equal(unsigned.replaces_state);
      }
      expect(unsigned.prev_sender === undefined).to.equal(unsigned.prev_content === undefined);
      return unsigned.prev_content?.topic;
    };

    it('is not shown to users from whom it was hidden', async () => {
      await visible('joined');
      await server.join('bob', roomId);
      await leave('bob');
      await topic('hidden');
      await visible('world_readable');
      const open = await topic('open');
      expect(await tellsOf('bob', open, true)).to.equal(undefined);
      expect(await tellsOf('mallory', open)).to.equal(undefined);
      expect(await tellsOf('alice', open)).to.equal('hidden');
      expect(await tellsOf('bob', await topic('still open'), true)).to.equal('open');
    });

    it('is told those who were in the room when it was replaced, whether they saw it set or not', async () => {
      await visible('joined');
      await topic('before bob came');
      await server.join('bob', roomId);
      expect(await tellsOf('bob', await topic('with bob'))).to.equal('before bob came');
    });

    it('is told everybody of one’s own memberships', async () => {
      await visible('joined');
      await invite('bob');
      await leave('bob');
      const { chunk } = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=1`);
      expect((await event('bob', chunk[0].event_id)).unsigned.prev_content).to.include({ membership: 'invite' });
    });

    it('is not told with the state either', async () => {
      await visible('joined');
      await topic('first');
      await topic('second');
      await server.join('bob', roomId);
      const prev = async (reader: string): Promise<unknown> => {
        const state = await server.must(reader, 'GET', `/rooms/${roomId}/state`);
        return stateIn(state, 'm.room.topic').unsigned.prev_content;
      };
      expect(await prev('bob')).to.equal(undefined);
      expect(await prev('alice')).to.deep.equal({ topic: 'first' });
      const open = await server.room('alice', { preset: 'public_chat' });
      for (const text of ['first', 'second']) await server.setState('alice', open, 'm.room.topic', { topic: text });
      await server.join('bob', open);
      const state = await server.must('bob', 'GET', `/rooms/${open}/state`);
      expect(stateIn(state, 'm.room.topic').unsigned.prev_content).to.deep.equal({ topic: 'first' });
    });
  });
});
