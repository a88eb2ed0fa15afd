import { expect } from 'chai';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

describe('a redaction that is to take along what relates to its event', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let roomId: string;
  let txns = 0;
  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server.stop());
  beforeEach(async () => {
    roomId = await server.room('moderator', { preset: 'public_chat' });
    for (const user of ['alice', 'bob']) await server.join(user, roomId);
  });

  const send = async (user: string, content: object, type = 'm.room.message'): Promise<string> =>
    (await server.must(user, 'PUT', `/rooms/${roomId}/send/${type}/t${(txns += 1)}`, content)).event_id;
  const say = (user: string, relation?: object): Promise<string> =>
    send(user, { msgtype: 'm.text', body: 'said', ...(relation === undefined ? {} : { 'm.relates_to': relation }) });
  const reply = (user: string, root: string): Promise<string> => say(user, { rel_type: 'm.thread', event_id: root });
  const react = (user: string, target: string, key: string): Promise<string> =>
    send(user, { 'm.relates_to': { rel_type: 'm.annotation', event_id: target, key } }, 'm.reaction');
  const redact = async (user: string, target: string, body: object, txn = `r${(txns += 1)}`): Promise<Json> => {
    const answer = await server.ask(user, 'PUT', `/rooms/${roomId}/redact/${target}/${txn}`, body);
    await server.idle();
    return answer;
  };
  const event = (id: string): Promise<Json> => server.must('moderator', 'GET', `/rooms/${roomId}/event/${id}`);
  const areRedacted = async (...ids: string[]): Promise<boolean[]> =>
    (await Promise.all(ids.map(event))).map(({ unsigned }) => unsigned.redacted_because !== undefined);

  it('is advertised', async () => {
    const { unstable_features: features } = await server.must(undefined, 'GET', '/_matrix/client/versions');
    expect(features['org.matrix.msc3912']).to.equal(true);
  });

  for (const member of ['with_rel_types', 'org.matrix.msc3912.with_relations'])
    it(`takes the types of relations that ${member} names, by whomever they are, with the same reason, and no others`, async () => {
      const root = await say('alice');
      const replies = [await reply('alice', root), await reply('bob', root)];
      const reaction = await react('bob', root, 'a');
      expect((await redact('moderator', root, { reason: 'spam', [member]: ['m.thread'] })).status).to.equal(200);
      expect(await areRedacted(root, ...replies, reaction)).to.deep.equal([true, true, true, false]);
      for (const id of [root, ...replies]) {
        const { redacted_because: because } = (await event(id)).unsigned;
        expect(because.sender).to.equal('@moderator:test');
        expect(because.content.reason).to.equal('spam');
        expect(because.content).not.to.have.any.keys('with_rel_types', 'org.matrix.msc3912.with_relations');
      }
    });

  it('takes all of them for an asterisk, and nothing that relates to those', async () => {
    const root = await say('alice');
    const answer = await reply('bob', root);
    const reaction = await react('bob', root, 'a');
    const further = await react('alice', answer, 'b');
    await redact('moderator', root, { with_rel_types: ['*'] });
    expect(await areRedacted(root, answer, reaction, further)).to.deep.equal([true, true, true, false]);
  });

  it('leaves what its sender may not redact', async () => {
    const root = await say('alice');
    const [own, other] = [await reply('alice', root), await reply('bob', root)];
    expect((await redact('alice', root, { with_rel_types: ['m.thread'] })).status).to.equal(200);
    expect(await areRedacted(root, own, other)).to.deep.equal([true, true, false]);
  });

  it('goes through however many there are, and takes the last of them too', async () => {
    const root = await say('alice');
    const replies: string[] = [];
    for (let n = 0; n < 130; n += 1) replies.push(await reply(n % 2 === 0 ? 'alice' : 'bob', root));
    await redact('moderator', root, { with_rel_types: ['m.thread'] });
    expect(await areRedacted(...replies)).to.not.include(false);
  });

  it('is one redaction of each, however often it is asked for under its transaction', async () => {
    const root = await say('alice');
    const answer = await reply('bob', root);
    const body = { with_rel_types: ['m.thread'] };
    const first = await redact('moderator', root, body, 'again');
    const { redacted_because: because } = (await event(answer)).unsigned;
    expect((await redact('moderator', root, body, 'again')).body).to.deep.equal(first.body);
    expect((await event(answer)).unsigned.redacted_because.event_id).to.equal(because.event_id);
  });

  it('works for redactions that are sent as events are', async () => {
    const root = await say('alice');
    const answer = await reply('bob', root);
    await send('moderator', { redacts: root, with_rel_types: ['*'] }, 'm.room.redaction');
    await server.idle();
    expect(await areRedacted(root, answer)).to.deep.equal([true, true]);
  });

  for (const wish of ['m.thread', [7], [null], Array.from({ length: 21 }, () => 'm.thread'), ['x'.repeat(256)], {}])
    it(`is refused, and redacts nothing, for ${JSON.stringify(wish).slice(0, 40)}`, async () => {
      const root = await say('alice');
      const { status, body } = await redact('moderator', root, { with_rel_types: wish });
      expect([status, body.errcode]).to.deep.equal([400, 'M_BAD_JSON']);
      expect(await areRedacted(root)).to.deep.equal([false]);
    });

  it('is refused to the suspended, who may redact nothing but their own events', async () => {
    await server.join('carol', roomId);
    const root = await say('carol');
    await server.must('admin-x', 'PUT', '/_matrix/client/v1/admin/suspend/@carol:test', { suspended: true });
    const { status, body } = await redact('carol', root, { with_rel_types: ['*'] });
    expect([status, body.errcode]).to.deep.equal([403, 'M_USER_SUSPENDED']);
    expect((await redact('carol', root, {})).status).to.equal(200);
  });
});
