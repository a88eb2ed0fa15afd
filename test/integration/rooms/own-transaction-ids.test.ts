import { expect } from 'chai';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

describe('transaction ids of events', function () {
  this.timeout(60_000);
  let server: InProcessServer;

  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  it('are told to the device that sent them after a restart as well, and to no other device', async () => {
    const room = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', room);
    const send = async (txnId: string): Promise<string> =>
      (
        await server.must('alice', 'PUT', `/rooms/${room}/send/m.room.message/${encodeURIComponent(txnId)}`, {
          msgtype: 'm.text',
          body: 'x',
        })
      ).event_id;
    const ids = ['m17.1', '"日本語" /?', 'm17.1 '];
    const sent: string[] = [];
    for (const txnId of ids) sent.push(await send(txnId));
    const redaction = await server.must(
      'alice',
      'PUT',
      `/rooms/${room}/redact/${encodeURIComponent(sent[2]!)}/gone`,
      {},
    );
    const shown = async (token: string): Promise<Json[]> => {
      const events: Json[] = (await server.must(token, 'GET', `/rooms/${room}/messages?dir=b&limit=4`)).chunk;
      for (const { event_id: id, unsigned } of [...events]) {
        const one = await server.must(token, 'GET', `/rooms/${room}/event/${encodeURIComponent(id)}`);
        expect(one.unsigned.transaction_id).to.equal(unsigned.transaction_id);
      }
      return events.map((event) => [event.event_id, event.unsigned.transaction_id]);
    };
    const expected = [[redaction.event_id, 'gone'], ...sent.map((id, at) => [id, ids[at]]).toReversed()];
    const nothing = expected.map(([id]) => [id, undefined]);
    expect(await shown('alice')).to.deep.equal(expected);
    await server.restart();
    const statements = await server.statements(async () => expect(await shown('alice')).to.deep.equal(expected));
    expect(await shown('bob')).to.deep.equal(nothing);
    expect(await shown('alice/OTHER')).to.deep.equal(nothing);
    expect(await send('m17.1')).to.equal(sent[0]);
    expect(statements).to.be.below(30);
  });
});
