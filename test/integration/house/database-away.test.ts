import { expect } from 'chai';
import { systemTimers } from '#src/kernel/timers.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import { type Answer, ask } from '#test/support/http.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import { PushGateway } from '#test/support/stand-ins/push-gateway.ts';
import type { RemotePartner } from '#test/support/federation/remote-partner.ts';
import { SeveringProxy } from '#test/support/stand-ins/severing-proxy.ts';
import { pause, until } from '#test/support/until.ts';

const PAT = '@pat:p.test';
/** Longer than what is repeated at once takes. */
const AWAY_MS = 3_000;

describe('a server whose database is away', function () {
  this.timeout(120_000);
  let federation: Federation;
  let server: InProcessServer;
  let p: RemotePartner;
  let proxy: SeveringProxy;
  let gateway: PushGateway;
  let room: PartnerRoom;
  /** The partner takes what it is sent. */
  let takes = true;
  const arrived: string[] = [];

  before(async () => {
    gateway = await PushGateway.start();
    federation = await startFederation(['a.test'], {
      partners: ['p.test'],
      server: {
        timers: systemTimers,
        config: { privacy: { usersExport: true } },
        async reach(url) {
          proxy = await SeveringProxy.to(url);
          return proxy.url;
        },
      },
    });
    server = federation.server('a.test');
    p = federation.partner('p.test');
    p.on('PUT', '/_matrix/federation/v1/send/*', ({ body }) => {
      if (!takes) return { status: 502, body: {} };
      for (const pdu of body.pdus) if (pdu.content.body !== undefined) arrived.push(pdu.content.body);
      return { body: { pdus: {} } };
    });
    const roomId = await server.room('alice', { preset: 'public_chat' });
    room = await PartnerRoom.join(server, p, roomId, [PAT]);
    await server.join('bob', roomId);
    await server.must('bob', 'POST', '/pushers/set', {
      kind: 'http',
      app_id: 'test',
      pushkey: 'key',
      app_display_name: 'test',
      device_display_name: 'test',
      lang: 'en',
      data: { url: gateway.url },
    });
  });
  after(async () => {
    await federation?.stop();
    await gateway?.stop();
    await proxy?.close();
  });

  const EXPORTS = '/_tsudoi/client/v1/exports';
  const tokenOf = async (user: string): Promise<string> => (await server.session(user)).token;
  const upload = async (): Promise<Answer> =>
    ask(server.url, 'POST', '/_matrix/media/v3/upload', {
      token: await tokenOf('alice'),
      raw: Buffer.from('a file'),
      headers: { 'Content-Type': 'application/octet-stream' },
    });
  const probe = async (path: string): Promise<number> => (await fetch(server.url + path)).status;
  const exports = async (): Promise<readonly Json[]> => (await server.must('alice', 'GET', EXPORTS)).exports;
  const bodies = async (): Promise<string[]> =>
    server.bodies(await server.must('alice', 'GET', `/rooms/${room.roomId}/messages?dir=b&limit=100`));
  /** Waits while time passes by both clocks. */
  const passing = <T>(what: string, look: () => Promise<T>): Promise<NonNullable<T>> =>
    until(what, async () => {
      await federation.clock.advance(1_000);
      return look();
    });

  it('answers 503 with Retry-After wherever somebody waits, in few lines of the log, loses nothing, and goes on by itself', async () => {
    expect((await upload()).status).to.equal(200);
    // What was acknowledged, and is still to be sent to others, when the database goes.
    takes = false;
    gateway.mood = () => [500, {}];
    await server.say('alice', room.roomId, 'to be sent and pushed');
    const remote = room.say(PAT, 'from another server');
    const begun = await server.must('alice', 'POST', EXPORTS, { with_files: true });
    proxy.away();
    const lines = server.lines.length;
    const started = Date.now();
    const repeated: Answer[] = [];
    do {
      const asked = await Promise.all([
        upload(),
        server.ask('alice', 'POST', EXPORTS, {}),
        server.ask('bob', 'PUT', `/user/${encodeURIComponent('@bob:a.test')}/account_data/org.test`, { a: 1 }),
        server.ask('carol-unknown', 'GET', '/account/whoami').catch(() => undefined),
        p.transact('a.test', { pdus: [remote.pdu], txnId: 'while-away' }),
        p.send(
          'a.test',
          'GET',
          `/_matrix/federation/v1/state_ids/${encodeURIComponent(room.roomId)}?event_id=${encodeURIComponent(remote.eventId)}`,
        ),
        ask(server.url, 'POST', '/login', {
          body: { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'alice' }, password: 'wrong' },
        }),
      ]);
      repeated.push(...asked.filter((answer) => answer !== undefined));
      await federation.clock.advance(1_000);
      await pause(50);
    } while (Date.now() - started < AWAY_MS);
    for (const { body, headers, status } of repeated) {
      expect([status, body.errcode], JSON.stringify(body)).to.deep.equal([503, 'M_UNKNOWN']);
      expect(Number(headers.get('retry-after'))).to.be.within(1, 60);
    }
    expect(await probe('/health')).to.equal(503);
    expect(await probe('/readyz')).to.equal(503);
    expect(await probe('/livez')).to.equal(200);
    const troubles = server.lines.slice(lines).filter(({ level }) => level === 'warn' || level === 'error');
    const said = troubles.map(
      ({ level, message, fields }) => `${level} ${message} ${JSON.stringify(fields).slice(0, 200)}`,
    );
    expect(said.length, said.join('\n')).to.be.within(1, 20);

    proxy.back();
    takes = true;
    gateway.mood = () => [200, { rejected: [] }];
    await passing('the server is ready', async () => (await probe('/readyz')) === 200);
    expect((await upload()).status).to.equal(200);
    const again = await p.transact('a.test', { pdus: [remote.pdu], txnId: 'while-away' });
    expect([again.status, again.body.pdus[remote.eventId]]).to.deep.equal([200, {}]);
    await passing('the event of the other server is in the room', async () =>
      (await bodies()).includes('from another server'),
    );
    await passing('the other server has what it was to be sent', async () => arrived.includes('to be sent and pushed'));
    await passing('the gateway was told', async () => gateway.bodies.includes('to be sent and pushed'));
    await passing('the archive is made', async () =>
      (await exports()).some(({ export_id: id, status }) => id === begun.export_id && status === 'complete'),
    );
  });
});
