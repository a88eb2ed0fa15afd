import { expect } from 'chai';
import { signingKeyFromSeed } from '#src/protocol/signing/signing-key.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { remoteEvent, remoteMember } from '#test/support/federation/remote-members.ts';

describe('a timeline after a fork that was long when it came', () => {
  const key = signingKeyFromSeed('a_1', new Uint8Array(32).fill(7));
  const charlie = '@charlie:remote.test';
  let server: InProcessServer;
  let roomId: string;
  let since: string;

  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server.stop());

  const bodies = (events: Json[]): string[] => events.map(({ content, type }) => content.body ?? type);
  const filterOf = (limit: number): string => encodeURIComponent(JSON.stringify({ room: { timeline: { limit } } }));

  /** What another server said after the first message comes when there are three more. */
  beforeEach(async () => {
    roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    await remoteMember(server, roomId, charlie, 'join', key);
    since = (await server.must('bob', 'GET', '/sync')).next_batch;
    const content = { msgtype: 'm.text', body: 'late' };
    const late = await remoteEvent(server, roomId, { type: 'm.room.message', sender: charlie, content }, key);
    for (const text of ['1', '2', '3', '4']) await server.say('alice', roomId, text);
    await server.services.receiver.receive((await server.services.rooms.byId(roomId)) as Room, late);
    for (const text of ['5', '6', '7']) await server.say('alice', roomId, text);
  });

  const pages = async (from: string, limit: number, count: number): Promise<string[][]> => {
    const found: string[][] = [];
    let token = from;
    for (let page = 0; page < count; page++) {
      const { chunk, end } = await server.must(
        'bob',
        'GET',
        `/rooms/${roomId}/messages?dir=b&limit=${limit}&from=${token}`,
      );
      found.push(bodies(chunk));
      token = end;
    }
    return found;
  };

  it('leads back to every event that came before it, and to none that it showed', async () => {
    const { rooms } = await server.must('bob', 'GET', `/sync?since=${since}&filter=${filterOf(4)}`);
    const { timeline } = rooms.join[roomId];
    expect(bodies(timeline.events)).to.deep.equal(['late', '5', '6', '7']);
    expect(await pages(timeline.prev_batch, 4, 1)).to.deep.equal([['4', '3', '2', '1']]);
    expect(await pages(timeline.prev_batch, 2, 3)).to.deep.equal([
      ['4', '3'],
      ['2', '1'],
      ['m.room.member', 'm.room.member'],
    ]);
  });

  it('leads back in the order of the room where nothing stands in another order than it came in', async () => {
    const { rooms } = await server.must('bob', 'GET', `/sync?since=${since}&filter=${filterOf(2)}`);
    const { timeline } = rooms.join[roomId];
    expect(bodies(timeline.events)).to.deep.equal(['6', '7']);
    const [first] = await pages(timeline.prev_batch, 6, 1);
    expect([...first!].toSorted()).to.deep.equal(['1', '2', '3', '4', '5', 'late']);
  });

  it('gives the members as they were before it', async () => {
    const { rooms } = await server.must('bob', 'GET', `/sync?since=${since}&filter=${filterOf(4)}`);
    await server.join('dora', roomId);
    const at = encodeURIComponent(rooms.join[roomId].timeline.prev_batch);
    const { chunk } = await server.must('bob', 'GET', `/rooms/${roomId}/members?at=${at}`);
    expect(chunk.map((event: Json) => event.state_key)).to.have.members(['@alice:test', '@bob:test', charlie]);
  });
});
