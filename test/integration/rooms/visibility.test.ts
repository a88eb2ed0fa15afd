import { expect } from 'chai';
import type { Room } from '#src/services/room-model/room/room.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const B = '@bob:test';

describe('which events a user may see', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const roomOf = async (roomId: string): Promise<Room> => {
    const room = await server.services.rooms.byId(roomId);
    if (room === undefined) throw new Error('the room is missing');
    return room;
  };
  const judge = async (roomId: string): Promise<string[]> => {
    const room = await roomOf(roomId);
    const visible = await server.services.visibility.visibleTo(room, B, room.ring.events);
    return visible.map(({ event, membership }) => {
      const { body } = event.content;
      return `${typeof body === 'string' ? body : (event.stateKey ?? '')} ${membership}`;
    });
  };

  it('is decided in memory for what came while they were in the room, and for history that was always shared', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.say('alice', roomId, 'before');
    await server.join('bob', roomId);
    await server.say('alice', roomId, 'after');
    const room = await roomOf(roomId);
    const { visibility } = server.services;
    expect(await server.statements(() => visibility.visibleTo(room, B, room.ring.events))).to.equal(0);
    expect((await judge(roomId)).slice(-3)).to.deep.equal(['before leave', '@bob:test join', 'after join']);
  });

  it('is decided in memory for those who left, too', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.say('alice', roomId, 'before');
    await server.join('bob', roomId);
    await server.say('alice', roomId, 'there');
    await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
    const room = await roomOf(roomId);
    const events = room.ring.events.slice(0, -1);
    expect(await server.statements(() => server.services.visibility.visibleTo(room, B, events))).to.equal(0);
    await server.say('alice', roomId, 'away');
    expect((await judge(roomId)).slice(-4)).to.deep.equal([
      'before leave',
      '@bob:test join',
      'there join',
      '@bob:test leave',
    ]);
  });

  it('follows several stays, and shows nothing of the time between them under "joined"', async () => {
    const roomId = await server.room('alice', {
      preset: 'public_chat',
      initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: 'joined' } }],
    });
    const words = async (): Promise<string[]> => (await judge(roomId)).filter((text) => /^[a-z]/.test(text));
    for (const stay of ['first', 'second']) {
      await server.say('alice', roomId, `away before ${stay}`);
      await server.join('bob', roomId);
      await server.say('alice', roomId, stay);
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
    }
    await server.say('alice', roomId, 'away');
    expect(await words()).to.deep.equal(['first join', 'second join']);
    await server.restart();
    expect(await words()).to.deep.equal(['first join', 'second join']);
    await server.join('bob', roomId);
    expect(await words()).to.deep.equal(['first join', 'second join']);
  });

  it('keeps the stays of a user with many changes of name apart', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.say('alice', roomId, 'before');
    await server.setState('alice', roomId, 'm.room.history_visibility', { history_visibility: 'joined' });
    await server.say('alice', roomId, 'hidden');
    await server.join('bob', roomId);
    for (let i = 0; i < 12; i++) {
      await server.setState('bob', roomId, 'm.room.member', { membership: 'join', displayname: `Bob ${i}` }, B);
      await server.say('alice', roomId, `${i}`);
    }
    await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
    const words = (await judge(roomId)).filter((text) => /^\w/.test(text));
    expect(words.filter((text) => /^\d+ join$/.test(text))).to.have.length(12);
    expect(words).to.include('before leave');
    expect(words.some((text) => text.startsWith('hidden'))).to.equal(false);
  });

  it('shows nothing to strangers but what the world may read', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    expect(await judge(roomId)).to.deep.equal([]);
  });
});
