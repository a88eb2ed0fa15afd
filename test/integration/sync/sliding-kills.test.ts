import { expect } from 'chai';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const PATH = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';
const HALF_A_MINUTE = 30_000;
const WISH = {
  conn_id: 'rooms',
  lists: { all: { ranges: [[0, 9]], timeline_limit: 5, required_state: [] } },
  extensions: { account_data: { enabled: true } },
};

describe('a connection of sliding sync, when the process is killed', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let room: string;
  let txns = 0;
  before(async () => {
    server = await InProcessServer.start();
    room = (await server.must('alice', 'POST', '/_matrix/client/v3/createRoom', { preset: 'public_chat' })).room_id;
    await server.must('bob', 'POST', `/_matrix/client/v3/join/${room}`, {});
  });
  after(() => server.stop());

  const poll = (pos?: string): ReturnType<InProcessServer['ask']> =>
    server.ask('alice', 'POST', `${PATH}?timeout=0${pos === undefined ? '' : `&pos=${pos}`}`, WISH);
  const sync = async (pos?: string): Promise<Json> => {
    const { status, body } = await poll(pos);
    expect(status, JSON.stringify(body)).to.equal(200);
    return body;
  };
  const say = (text: string): Promise<Json> =>
    server.must('bob', 'PUT', `/_matrix/client/v3/rooms/${room}/send/m.room.message/k${(txns += 1)}`, {
      msgtype: 'm.text',
      body: text,
    });
  const texts = (body: Json): string[] =>
    (body.rooms[room]?.timeline ?? []).flatMap(({ type, content }: Json) =>
      type === 'm.room.message' ? [content.body] : [],
    );
  const quiet = async (): Promise<void> => {
    await server.clock.advance(HALF_A_MINUTE + 1);
    await server.clock.advance(HALF_A_MINUTE + 1);
    await server.idle();
  };
  const killed = async (): Promise<void> => {
    await server.kill();
    await server.revive();
  };

  it('is not saved while it is answered, but half a minute later, by one statement for all', async () => {
    const names = await server.statementNames(async () => {
      const { pos } = await sync();
      await say('counted');
      await sync(pos);
      await server.idle();
    });
    expect(names).not.to.include('sliding_connections_save');
    const later = await server.statementNames(quiet);
    expect(later.filter((name) => name === 'sliding_connections_save')).to.have.lengthOf(1);
  });

  it('resumes where it was, if its client had no news in the last half a minute', async () => {
    const { pos } = await sync();
    await say('one');
    const second = await sync(pos);
    await quiet();
    await killed();
    await say('two');
    const third = await sync(second.pos);
    expect(texts(third)).to.deep.equal(['two']);
    expect(third.rooms[room]).not.to.have.property('initial');
  });

  it('continues also if the last answer was never read: what was in it is told again', async () => {
    const { pos } = await sync();
    await say('one');
    await sync(pos);
    await quiet();
    await killed();
    expect(texts(await sync(pos))).to.deep.equal(['one']);
  });

  it('continues after polls that had nothing to tell, and what they led to is saved already', async () => {
    const { pos } = await sync();
    await quiet();
    let last = pos;
    const statements = await server.statementNames(async () => {
      for (let n = 0; n < 3; n++) {
        const before = last;
        ({ pos: last } = await sync(last));
        expect(last, 'each answer has a position of its own').not.to.equal(before);
      }
      await quiet();
    });
    expect(statements).not.to.include('sliding_connections_save');
    await killed();
    await say('after');
    expect(texts(await sync(last))).to.deep.equal(['after']);
  });

  it('begins again, once, if its client had news just before', async () => {
    const { pos } = await sync();
    await quiet();
    await say('one');
    const second = await sync(pos);
    const third = await sync((await sync(second.pos)).pos);
    await killed();
    expect((await poll(third.pos)).body.errcode).to.equal('M_UNKNOWN_POS');
    const anew = await sync();
    expect(anew.rooms[room].initial).to.equal(true);
    await say('two');
    expect(texts(await sync(anew.pos))).to.deep.equal(['two']);
  });

  it('is not mistaken for one of the same name that was begun later', async () => {
    const old = await sync();
    await quiet();
    const { pos } = await sync();
    await killed();
    expect((await poll(pos)).body.errcode).to.equal('M_UNKNOWN_POS');
    expect((await poll(old.pos)).status).to.equal(200);
  });
});
