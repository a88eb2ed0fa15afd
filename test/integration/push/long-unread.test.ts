import { expect } from 'chai';
import { InProcessServer } from '#test/support/in-process-server.ts';

const MAX = 2_000;

describe('what is unread for a user who was away for long', () => {
  let server: InProcessServer;

  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server.stop());

  const chatter = async (roomId: string, count: number): Promise<void> => {
    const room = (await server.services.rooms.byId(roomId))!;
    const { userId } = await server.session('alice');
    for (let at = 0; at < count; at += 100)
      await server.services.events.sendAll(
        room,
        Array.from({ length: 100 }, (_, i) => ({
          type: 'm.room.message',
          sender: userId,
          content: { msgtype: 'm.text', body: `${at + i}` },
        })),
      );
  };
  const mention = (roomId: string, name: string): Promise<unknown> =>
    server.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.message/${Math.random()}`, {
      msgtype: 'm.text',
      body: name,
      'm.mentions': { user_ids: [`@${name}:test`] },
    });
  const unreadOf = async (name: string, roomId: string): Promise<unknown> => {
    const { rooms } = await server.must(name, 'GET', '/sync');
    return rooms.join[roomId].unread_notifications;
  };

  it('is counted over the newest events of a room, and mentions over all', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    for (const name of ['bob', 'carol', 'dora']) await server.join(name, roomId);
    for (const name of ['bob', 'carol', 'dora']) await mention(roomId, name);
    // Who says something has read what mentioned them before.
    await server.say('carol', roomId, 'I have seen it');
    await chatter(roomId, MAX + 100);
    await mention(roomId, 'dora');
    await server.restart();
    expect(await unreadOf('bob', roomId)).to.deep.equal({ notification_count: MAX + 1, highlight_count: 1 });
    expect(await unreadOf('carol', roomId)).to.deep.equal({ notification_count: MAX, highlight_count: 0 });
    expect(await unreadOf('dora', roomId)).to.deep.equal({ notification_count: MAX + 1, highlight_count: 2 });
  });

  it('is exact below that number', async () => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    await chatter(roomId, 300);
    await server.restart();
    expect(await unreadOf('bob', roomId)).to.deep.equal({ notification_count: 300, highlight_count: 0 });
  });
});
