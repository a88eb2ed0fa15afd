import { expect } from 'chai';
import { InProcessServer } from '#test/support/in-process-server.ts';

describe('the rooms in memory', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({ config: { cache: { roomsBytes: 4_000_000 } } });
  });
  after(() => server.stop());

  const weight = (): number => server.services.rooms.weight;

  it('weigh what they have grown to, not what they were when they came', async () => {
    const roomId = await server.room('alice');
    const before = weight();
    for (let n = 0; n < 100; n += 1) await server.say('alice', roomId, 'x'.repeat(2_000));
    expect(weight() - before).to.be.within(200_000, 2_000_000);
    const spoken = weight();
    const topics = { body: 'y'.repeat(10_000) };
    for (let n = 0; n < 10; n += 1) await server.must('alice', 'PUT', `/rooms/${roomId}/state/test.large/${n}`, topics);
    expect(weight() - spoken).to.be.within(100_000, 1_500_000);
  });

  it('are no more than they may be, however much is said in each of them, and those in use stay', async () => {
    const rooms: string[] = [];
    for (let n = 0; n < 8; n += 1) {
      const roomId = await server.room('alice');
      rooms.push(roomId);
      for (let said = 0; said < 12; said += 1) await server.say('alice', roomId, `${said}${'x'.repeat(30_000)}`);
      expect(weight()).to.be.at.most(4_000_000);
    }
    expect(weight()).to.be.at.least(1_000_000);
    const { chunk } = await server.must('alice', 'GET', `/rooms/${rooms[0]}/messages?dir=b&limit=1`);
    expect(chunk[0].content.body).to.match(/^11x/);
  });
});
