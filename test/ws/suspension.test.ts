import { OPERATOR } from '#src/services/audit/actor.ts';
import { expect } from 'chai';
import { type Account, StreamServer } from './stream-server.ts';

describe('WebSocket API: suspended users', () => {
  let server: StreamServer;
  let alice: Account;
  let bob: Account;

  before(async function () {
    this.timeout(60_000);
    server = await StreamServer.start();
    alice = await server.register('alice');
    bob = await server.register('bob');
  });
  after(() => server.stop());

  it('are refused on connections that were open before, until the suspension is lifted', async () => {
    const roomId = await server.room(alice);
    const client = await server.connect(bob);
    await client.must('join', { room_id_or_alias: roomId });
    const send = (txnId: string): Promise<{ error?: { errcode?: string } }> =>
      client.request('send', {
        room_id: roomId,
        event_type: 'm.room.message',
        txn_id: txnId,
        content: { msgtype: 'm.text', body: txnId },
      });
    expect((await send('before')).error).to.equal(undefined);
    await server.app.services.userAdministration.suspend(OPERATOR, bob.userId, true);
    expect((await send('during')).error?.errcode).to.equal('M_USER_SUSPENDED');
    const topic = { room_id: roomId, event_type: 'm.room.topic', content: { topic: 'x' } };
    expect((await client.request('state', topic)).error?.errcode).to.equal('M_USER_SUSPENDED');
    expect((await client.request('join', { room_id_or_alias: roomId })).error?.errcode).to.equal('M_USER_SUSPENDED');
    await server.app.services.userAdministration.suspend(OPERATOR, bob.userId, false);
    expect((await send('after')).error).to.equal(undefined);
    await client.must('leave', { room_id: roomId });
    await client.end();
  });

  it('may say nothing of themselves that others see, over HTTP and on connections', async () => {
    const client = await server.connect(bob);
    await server.app.services.userAdministration.suspend(OPERATOR, bob.userId, true);
    const said = { presence: 'online', status_msg: 'for everybody to read' };
    expect((await client.request('presence', said)).error?.errcode).to.equal('M_USER_SUSPENDED');
    const { status, body } = await server.ask(bob, 'PUT', `/presence/${bob.userId}/status`, said);
    expect([status, body['errcode']]).to.deep.equal([403, 'M_USER_SUSPENDED']);
    await server.app.services.userAdministration.suspend(OPERATOR, bob.userId, false);
    await client.end();
  });
});
