import { expect } from 'chai';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';

describe('the upgrade of a room on another server', function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test']);
    a = federation.server('a.test');
    b = federation.server('b.test');
  });
  after(() => federation?.stop());

  it('carries push rules, tags and direct chats of users here over to the successor that they join', async () => {
    const { userId } = await b.session('bob');
    const old = await a.room('alice', { preset: 'public_chat', room_version: '11' });
    await b.must('bob', 'POST', `/join/${encodeURIComponent(old)}?via=a.test`, {});
    await b.must('bob', 'PUT', `/user/${userId}/rooms/${old}/tags/m.favourite`, { order: 0.5 });
    await b.must('bob', 'PUT', `/user/${userId}/account_data/m.direct`, { '@alice:a.test': [old] });
    await b.must('bob', 'PUT', `/pushrules/global/room/${encodeURIComponent(old)}`, { actions: [] });
    await federation.idle();
    const { replacement_room: next } = await a.must('alice', 'POST', `/rooms/${old}/upgrade`, { new_version: '12' });
    await federation.idle();
    // As soon as the old room names its successor.
    const rules = await b.must('bob', 'GET', '/pushrules/');
    expect(rules.global.room.map((rule: { rule_id: string }) => rule.rule_id)).to.have.members([old, next]);
    await b.must('bob', 'POST', `/join/${encodeURIComponent(next)}?via=a.test`, {});
    await federation.idle();
    const { tags } = await b.must('bob', 'GET', `/user/${userId}/rooms/${encodeURIComponent(next)}/tags`);
    expect(tags).to.deep.equal({ 'm.favourite': { order: 0.5 } });
    expect(await b.must('bob', 'GET', `/user/${userId}/account_data/m.direct`)).to.deep.equal({
      '@alice:a.test': [old, next],
    });
  });
});
