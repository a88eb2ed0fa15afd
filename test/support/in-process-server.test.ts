import { expect } from 'chai';
import { cleanStreams, listUser } from '#src/jobs/definitions.ts';
import { until } from './until.ts';
import { InProcessServer } from './in-process-server.ts';

describe('the server in the process of the tests', () => {
  let server: InProcessServer;

  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server?.stop());

  it('registers whoever a token names, as what the name says, and logs them in once on each device', async () => {
    expect(await server.must('alice', 'GET', '/account/whoami')).to.deep.equal({
      user_id: '@alice:test',
      device_id: 'DEVICE',
      is_guest: false,
    });
    expect((await server.must('alice/PHONE', 'GET', '/account/whoami')).device_id).to.equal('PHONE');
    expect((await server.must('guest-one', 'GET', '/account/whoami')).is_guest).to.equal(true);
    expect(await server.session('alice')).to.equal(await server.session('alice'));
    const { devices } = await server.must('alice', 'GET', '/devices');
    expect(devices.map((device: { device_id: string }) => device.device_id)).to.have.members(['DEVICE', 'PHONE']);
  });

  it('sends other tokens as they are', async () => {
    expect((await server.ask('NOBODY', 'GET', '/account/whoami')).status).to.equal(401);
    expect((await server.ask(undefined, 'GET', '/account/whoami')).status).to.equal(401);
    expect((await server.ask((await server.session('alice')).token, 'GET', '/account/whoami')).status).to.equal(200);
  });

  it('has done what was begun when it is idle', async () => {
    const roomId = await server.room('alice', { name: 'Somewhere' });
    await server.say('alice', roomId, 'needle');
    await server.idle();
    const search = { search_categories: { room_events: { search_term: 'needle' } } };
    const found = await server.must('alice', 'POST', '/search', search);
    expect(found.search_categories.room_events.count).to.equal(1);
  });

  it('is idle when jobs are done that pause between their statements', async () => {
    // One row that somebody has not read is a batch of its own, and a pause.
    await server.room('alice', { invite: ['@bob:test'] });
    await server.services.database.write((tx) => tx.enqueue(cleanStreams, {}));
    await server.idle();
    expect(await server.services.queues.counts('maintenance')).to.include({ waiting: 0, active: 0 });
  });

  it('does what it was doing when it was killed, and is idle then', async () => {
    const other = await InProcessServer.start({ extensions: { jobLockMs: 2_000 } });
    try {
      const done: string[] = [];
      other.services.directoryEntries.list = () => new Promise(() => undefined);
      await other.account('loner');
      await other.services.database.write((tx) => tx.enqueue(listUser, { userId: '@loner:test' }));
      await until('the job has begun', () => other.services.queues.running.includes('user_directory.list'));
      await other.kill();
      await other.revive();
      const { directoryEntries } = other.services;
      const list = directoryEntries.list.bind(directoryEntries);
      directoryEntries.list = (userId) => {
        done.push(userId);
        return list(userId);
      };
      await other.idle();
      expect(done).to.deep.equal(['@loner:test']);
    } finally {
      await other.stop();
    }
  });

  it('says what it waits for', async () => {
    const { next_batch: since } = await server.must('alice', 'GET', '/sync');
    const poll = server.must('alice', 'GET', `/sync?timeout=30000&since=${since}`);
    expect(server.waitsFor()).to.include(`not answered: GET /sync?timeout=30000&since=${since}`);
    await server.say('alice', await server.room('alice'), 'news');
    await poll;
    expect(server.waitsFor()).to.include('not answered: nothing');
  });

  it('has everything after a restart, and what was acknowledged after it was killed', async () => {
    const roomId = await server.room('bob');
    const first = await server.say('bob', roomId, 'first');
    await server.restart();
    expect((await server.must('bob', 'GET', `/rooms/${roomId}/event/${first}`)).content.body).to.equal('first');
    const second = await server.say('bob', roomId, 'second');
    await server.kill();
    await server.revive();
    expect((await server.must('bob', 'GET', `/rooms/${roomId}/event/${second}`)).content.body).to.equal('second');
    const event = await server.say('bob', roomId, 'third');
    expect((await server.must('bob', 'GET', `/rooms/${roomId}/event/${event}`)).content.body).to.equal('third');
  });
});
