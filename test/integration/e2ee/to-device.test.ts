import { expect } from 'chai';
import { sql } from '#src/storage/database.ts';
import { EncryptionServer, type TestDevice } from './encryption-server.ts';

const COUNT = sql('test_to_device_count', 'select count(*)::int as n from to_device where user_id = $1');

describe('messages to devices', function () {
  this.timeout(60_000);
  let server: EncryptionServer;
  let alice: TestDevice;
  let bob: TestDevice;
  let txns = 0;

  before(async () => {
    server = await EncryptionServer.start({
      TSUDOI_E2EE__MAX_INBOX_BYTES: '2000000',
      TSUDOI_E2EE__MAX_USER_INBOX_BYTES: '3000000',
    });
  });
  after(() => server.stop());
  beforeEach(async () => {
    alice = await server.register();
    bob = await server.register();
  });

  const send = (messages: object, txn = `t${(txns += 1)}`, type = 'm.test'): ReturnType<EncryptionServer['ask']> =>
    server.ask(alice, 'PUT', `/sendToDevice/${type}/${txn}`, { messages });
  const bodies = (response: { readonly to_device?: { readonly events: readonly { readonly content: object }[] } }) =>
    (response.to_device?.events ?? []).map(({ content }) => (content as { readonly n: unknown }).n);
  /** Syncs until messages come: other news may come before. */
  const received = async (device: TestDevice, since: string): Promise<unknown[]> => {
    for (let token = since; ;) {
      const response = await server.sync(device, token, 20_000);
      if (bodies(response).length > 0) return bodies(response);
      token = response.next_batch;
    }
  };
  const stored = async ({ userId }: TestDevice): Promise<number> =>
    (await server.database.query<{ n: number }>(COUNT, [userId]))[0]?.n ?? -1;

  it('come with their sender and type, once, and are deleted when they are acknowledged', async () => {
    const { next_batch: start } = await server.sync(bob);
    await send({ [bob.userId]: { [bob.deviceId]: { n: 1 } } }, undefined, 'm.room_key');
    const first = await server.sync(bob, start);
    expect(first.to_device.events).to.deep.equal([{ type: 'm.room_key', sender: alice.userId, content: { n: 1 } }]);
    expect(await stored(bob)).to.equal(1);
    const again = await server.sync(bob, start);
    expect(bodies(again)).to.deep.equal([1]);
    expect(bodies(await server.sync(bob, first.next_batch))).to.deep.equal([]);
    expect(await stored(bob)).to.equal(0);
  });

  it('come in the first sync, and end a long-poll', async () => {
    await send({ [bob.userId]: { [bob.deviceId]: { n: 1 } } });
    const first = await server.sync(bob);
    expect(bodies(first)).to.deep.equal([1]);
    const waiting = received(bob, first.next_batch);
    await send({ [bob.userId]: { [bob.deviceId]: { n: 2 } } });
    expect(await waiting).to.deep.equal([2]);
  });

  it('to all devices of a user come to each of them, but for those with one of their own', async () => {
    const other = await server.login(bob);
    await send({ [bob.userId]: { '*': { n: 'all' }, [other.deviceId]: { n: 'own' } } });
    expect(bodies(await server.sync(bob))).to.deep.equal(['all']);
    expect(bodies(await server.sync(other))).to.deep.equal(['own']);
  });

  it('to unknown devices and users are dropped, and so are those that wait for a device that is deleted', async () => {
    const other = await server.login(bob);
    const { status } = await send({
      [bob.userId]: { NONE: { n: 1 }, [other.deviceId]: { n: 2 } },
      '@nobody:localhost': { '*': { n: 3 }, D: { n: 4 } },
      'no user id': { D: { n: 5 } },
    });
    expect(status).to.equal(200);
    expect(await stored(bob)).to.equal(1);
    await server.must(other, 'POST', '/logout', {});
    expect(await stored(bob)).to.equal(0);
  });

  it('to what can be no user or no device are dropped', async () => {
    const long = 'x'.repeat(20_000);
    const { status } = await send({
      [bob.userId]: { [long]: { n: 1 }, '': { n: 2 }, [bob.deviceId]: { n: 3 } },
      [`@${long}:localhost`]: { D: { n: 4 }, '*': { n: 5 } },
    });
    expect(status).to.equal(200);
    expect(await stored(bob)).to.equal(1);
    for (const messages of [{ [bob.userId]: { 'D\u0000': {} } }, { '@a\u0000:localhost': { D: {} } }]) {
      const { status: refused, body } = await send(messages);
      expect([refused, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
  });

  it('are sent once for each transaction id, whatever its body says, also after a restart', async () => {
    await send({ [bob.userId]: { [bob.deviceId]: { n: 1 } } }, 'same');
    expect((await send({ [bob.userId]: { [bob.deviceId]: { n: 2 } } }, 'same')).status).to.equal(200);
    await server.restart();
    expect((await send({ [bob.userId]: { [bob.deviceId]: { n: 3 } } }, 'same')).status).to.equal(200);
    await send({ [bob.userId]: { [bob.deviceId]: { n: 4 } } }, 'same', 'm.other');
    expect(bodies(await server.sync(bob))).to.deep.equal([1, 4]);
  });

  it('are answered by the transaction id when they are repeated, before the body is looked at', async () => {
    await send({ [bob.userId]: { [bob.deviceId]: { n: 1 } } }, 'broken');
    const repeat = (txn: string): ReturnType<typeof send> =>
      server.ask(alice, 'PUT', `/sendToDevice/m.test/${txn}`, { messages: 'none' });
    expect((await repeat('broken')).status).to.equal(200);
    await server.restart();
    expect((await repeat('broken')).status).to.equal(200);
    const { status, body } = await repeat('another');
    expect([status, body.errcode]).to.deep.equal([400, 'M_BAD_JSON']);
  });

  it('come in order, a hundred at a time, however many wait, also over a restart', async () => {
    for (let from = 0; from < 450; from += 50)
      await Promise.all(
        Array.from({ length: 50 }, (_, n) => send({ [bob.userId]: { [bob.deviceId]: { n: from + n } } })),
      );
    const seen: unknown[] = [];
    let since: string | undefined;
    for (let round = 0; round < 6; round++) {
      const response = await server.sync(bob, since);
      since = response.next_batch;
      expect(bodies(response).length).to.be.at.most(100);
      seen.push(...bodies(response));
      if (round === 2) await server.restart();
    }
    expect(seen).to.have.length(450);
    expect(new Set(seen).size).to.equal(450);
    for (let from = 0; from < 450; from += 50)
      expect(seen.slice(from, from + 50).toSorted((a, b) => Number(a) - Number(b))).to.deep.equal(
        Array.from({ length: 50 }, (_, n) => from + n),
      );
    expect(await stored(bob)).to.equal(0);
  });

  it('cost no statement for an empty inbox, and a bounded number otherwise', async () => {
    let { next_batch: since } = await server.sync(bob);
    ({ next_batch: since } = await server.sync(bob, since));
    await send({ [bob.userId]: { [bob.deviceId]: { n: 0 } } });
    for (let round = 0; round < 2; round++) ({ next_batch: since } = await server.sync(bob, since));
    const next = async (): Promise<void> => {
      ({ next_batch: since } = await server.sync(bob, since));
    };
    const message = (): Promise<unknown> => send({ [bob.userId]: { [bob.deviceId]: { n: 1 } } });
    expect(await server.statements(next)).to.equal(0);
    expect(await server.statements(message)).to.be.at.most(2);
    await next();
    await next();
    // One statement deletes what the request before brought.
    const received = async (): Promise<void> => {
      await message();
      await next();
      await next();
    };
    expect(await server.statements(received)).to.be.at.most(3);
  });

  it('are in no filter’s way', async () => {
    await send({ [bob.userId]: { [bob.deviceId]: { n: 1 } } });
    const filter = encodeURIComponent(
      JSON.stringify({ event_fields: ['type'], presence: { types: [] }, room: { rooms: [] } }),
    );
    const response = await server.must(bob, 'GET', `/sync?timeout=0&filter=${filter}`);
    expect(bodies(response)).to.deep.equal([1]);
  });

  it('are weighed as they are written: for each of all devices of a user, with their type', async () => {
    const carol = await server.register();
    for (let index = 0; index < 5; index += 1) await server.login(carol);
    const put = (type: string, messages: object): Promise<{ status: number; body: { errcode?: string } }> =>
      server.ask(alice, 'PUT', `/sendToDevice/${type}/w${(txns += 1)}`, { messages });
    expect((await put('t'.repeat(256), { [bob.userId]: { '*': {} } })).body.errcode).to.equal('M_TOO_LARGE');
    expect((await put('t'.repeat(255), { [bob.userId]: { '*': {} } })).status).to.equal(200);
    expect((await put('m.test', { [carol.userId]: { '*': { n: 'x'.repeat(60_000) } } })).status).to.equal(200);
    const many = Object.fromEntries(Array.from({ length: 9_998 }, (_, index) => [`D${index}`, {}]));
    expect((await put('m.test', { [carol.userId]: { '*': {}, ...many } })).body.errcode).to.equal('M_TOO_LARGE');
  });
  it('for all devices of a user come to 8 MiB at most', async () => {
    const carol = await server.register();
    for (let index = 0; index < 134; index += 1) await server.login(carol);
    const all = (length: number): ReturnType<typeof send> =>
      send({ [carol.userId]: { '*': { n: 'x'.repeat(length) } } });
    expect((await all(65_000)).body.errcode).to.equal('M_TOO_LARGE');
    expect((await all(60_000)).status).to.equal(200);
  });

  it('that nobody fetches are bounded in bytes: the oldest go, and what comes costs a statement now and then', async () => {
    let n = 0;
    const large = async (count: number): Promise<void> => {
      for (const end = n + count; n < end; n += 1)
        await send({ [bob.userId]: { [bob.deviceId]: { n, x: 'x'.repeat(50_000) } } });
    };
    await large(30);
    expect(await server.statements(() => large(30))).to.be.at.most(30 * 2 + 6);
    expect(await stored(bob)).to.be.within(30, 52);
    const seen: unknown[] = [];
    for (let since: string | undefined; ;) {
      const response = await server.sync(bob, since);
      since = response.next_batch;
      if (bodies(response).length === 0) break;
      seen.push(...bodies(response));
    }
    expect(seen).to.deep.equal(Array.from({ length: seen.length }, (_, index) => n - seen.length + index));
  });

  it('that nobody fetches are bounded for all devices of a user together: the oldest go, of devices that are not used any more', async () => {
    const unused = [await server.login(bob), await server.login(bob), await server.login(bob)];
    let n = 0;
    const large = async (device: TestDevice, count: number): Promise<void> => {
      for (const end = n + count; n < end; n += 1)
        await send({ [bob.userId]: { [device.deviceId]: { n, x: 'x'.repeat(50_000) } } });
    };
    for (const device of unused) await large(device, 30);
    // A device that is used, whose inbox is in memory.
    await server.sync(bob);
    await large(bob, 10);
    await server.sync(unused[0]!);
    await large(bob, 10);
    // As many as fit, and a quarter more that may have come since it was last looked.
    expect(await stored(bob)).to.be.within(40, 75);
    const seen: unknown[] = [];
    for (let since: string | undefined; ;) {
      const response = await server.sync(bob, since);
      since = response.next_batch;
      if (bodies(response).length === 0) break;
      seen.push(...bodies(response));
    }
    expect(seen).to.deep.equal(Array.from({ length: 20 }, (_, index) => 90 + index));
    expect(bodies(await server.sync(unused[0]!)), 'the oldest').to.deep.equal([]);
  });

  it('are refused when they are malformed', async () => {
    for (const messages of [7, [], { [bob.userId]: [] }, { [bob.userId]: { D: 'text' } }]) {
      const { status, body } = await server.ask(alice, 'PUT', `/sendToDevice/m.test/x${(txns += 1)}`, { messages });
      expect([status, body.errcode]).to.deep.equal([400, 'M_BAD_JSON']);
    }
    const large = { [bob.userId]: { [bob.deviceId]: { n: 'x'.repeat(70_000) } } };
    expect((await send(large)).body.errcode).to.equal('M_TOO_LARGE');
  });
});
