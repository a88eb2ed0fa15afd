import { expect } from 'chai';
import { ClientEvent, Preset, RoomEvent, SetPresence, SyncState, UserEvent } from 'matrix-js-sdk';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { ask, must } from '#test/support/http.ts';
import { PASSWORD, SdkClient } from '#test/support/sdk-client.ts';

const LIFETIME_MS = 60_000;
/** Lifetimes are kept in full seconds. */
const EXPIRED_MS = LIFETIME_MS + 1_000;

describe('sessions and devices of js-sdk clients', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  const clients: SdkClient[] = [];
  const started = async (client: SdkClient): Promise<SdkClient> => {
    clients.push(client);
    return client.start();
  };

  before(async () => {
    server = await InProcessServer.start({ config: { sessions: { accessTokenLifetimeMs: LIFETIME_MS } } });
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.stop();
  });
  after(() => server?.stop());

  it('bring account data and tags of one device to the other', async () => {
    const desk = await started(await SdkClient.register(server.url, 'akiko'));
    const phone = await started(await SdkClient.logIn(server.url, 'akiko'));
    const { room_id: roomId } = await desk.client.createRoom({});
    await phone.room(roomId);
    const changed: string[] = [];
    phone.client.on(ClientEvent.AccountData, (event) => changed.push(event.getType()));
    await desk.client.setAccountData('org.tsudoi.theme' as never, { dark: true, 名: '夜' } as never);
    await phone.until(
      'account data',
      () => phone.client.getAccountData('org.tsudoi.theme' as never)?.getContent()['dark'] === true,
    );
    expect(phone.client.getAccountData('org.tsudoi.theme' as never)!.getContent()).to.deep.equal({
      dark: true,
      名: '夜',
    });
    expect(changed.filter((type) => type === 'org.tsudoi.theme')).to.have.length(1);
    await desk.client.setRoomTag(roomId, 'm.favourite', { order: 0.25 });
    await phone.until('the tag', () => phone.client.getRoom(roomId)!.tags['m.favourite']?.['order'] === 0.25);
    await desk.client.deleteRoomTag(roomId, 'm.favourite');
    await phone.until('no tag', () => phone.client.getRoom(roomId)!.tags['m.favourite'] === undefined);
    await desk.client.setRoomAccountData(roomId, 'org.tsudoi.note' as never, { text: 'メモ' } as never);
    await phone.until(
      'room account data',
      () => phone.client.getRoom(roomId)!.getAccountData('org.tsudoi.note')?.getContent()['text'] === 'メモ',
    );
  });

  it('hide what ignored users say', async () => {
    const quiet = await started(await SdkClient.register(server.url, 'shizuka'));
    const loud = await started(await SdkClient.register(server.url, 'yakamashi'));
    const { room_id: roomId } = await quiet.client.createRoom({ preset: Preset.PublicChat });
    await loud.client.joinRoom(roomId);
    await quiet.until('the member', () => quiet.membership(roomId, loud.userId) === 'join');
    await quiet.client.setIgnoredUsers([loud.userId]);
    await quiet.until('account data', () => quiet.client.isUserIgnored(loud.userId));
    await loud.client.sendTextMessage(roomId, 'わあわあ');
    const { event_id: own } = await quiet.client.sendTextMessage(roomId, '静か');
    await quiet.sees(roomId, own);
    await loud.sees(roomId, own);
    expect(quiet.texts(roomId)).to.deep.equal(['静か']);
    expect(loud.texts(roomId)).to.deep.equal(['わあわあ', '静か']);
  });

  it('show who is online, away and what they say of themselves', async () => {
    const watcher = await started(await SdkClient.register(server.url, 'mihari'));
    const other = await SdkClient.register(server.url, 'dareka');
    const { room_id: roomId } = await watcher.client.createRoom({ preset: Preset.PublicChat });
    await other.client.joinRoom(roomId);
    await started(other);
    const presence = (): string | undefined => watcher.client.getUser(other.userId)?.presence;
    await watcher.until('online', () => presence() === 'online');
    const messages: (string | undefined)[] = [];
    watcher.client
      .getUser(other.userId)!
      .on(UserEvent.Presence, (_event, user) => messages.push(user.presenceStatusMsg));
    await other.client.setSyncPresence(SetPresence.Unavailable);
    await other.client.setPresence({ presence: 'unavailable', status_msg: '昼休み' });
    await watcher.until('away', () => presence() === 'unavailable' && messages.includes('昼休み'));
    const told = await watcher.client.getPresence(other.userId);
    expect(told).to.include({ presence: 'unavailable', status_msg: '昼休み' });
  });

  it('let guests look into rooms that are open to them, and talk only where they may', async () => {
    const host = await started(await SdkClient.register(server.url, 'yadonushi'));
    const { room_id: open } = await host.client.createRoom({ preset: Preset.PublicChat });
    await host.client.setGuestAccess(open, { allowJoin: true, allowRead: true });
    const { room_id: shut } = await host.client.createRoom({ preset: Preset.PublicChat });
    const login = await must(server.url, 'POST', '/register?kind=guest', { body: {} });
    const guest = SdkClient.of(server.url, login);
    guest.client.setGuest(true);
    await started(guest);
    await guest.client.joinRoom(open);
    const { event_id: said } = await guest.client.sendTextMessage(open, 'お邪魔します');
    await host.sees(open, said);
    const refused = await guest.client.joinRoom(shut).catch((error: { errcode: string }) => error.errcode);
    expect(refused).to.equal('M_GUEST_ACCESS_FORBIDDEN');
    const made = await guest.client.createRoom({}).catch((error: { errcode: string }) => error.errcode);
    expect(made).to.equal('M_GUEST_ACCESS_FORBIDDEN');
  });

  it('refresh their tokens while they sync, and miss nothing over it', async () => {
    const talker = await started(await SdkClient.register(server.url, 'hanashi'));
    const client = await started(await SdkClient.register(server.url, 'nagai', {}, { refresh_token: true }));
    expect(client.login.expires_in_ms).to.equal(LIFETIME_MS);
    const { room_id: roomId } = await talker.client.createRoom({ preset: Preset.PublicChat });
    await client.client.joinRoom(roomId);
    await client.room(roomId);
    let tokens = { access_token: client.login.access_token, refresh_token: client.login.refresh_token! };
    const said: string[] = [];
    const begun = server.clock.now();
    while (server.clock.now() - begun < EXPIRED_MS) {
      said.push(`${said.length}回目`);
      const { event_id: last } = await talker.client.sendTextMessage(roomId, said.at(-1)!);
      tokens = { ...tokens, ...(await client.client.refreshToken(tokens.refresh_token)) };
      client.client.setAccessToken(tokens.access_token);
      await client.sees(roomId, last);
      await server.clock.advance(LIFETIME_MS / 4);
    }
    expect(client.loggedOut).to.deep.equal([]);
    expect(client.texts(roomId)).to.deep.equal(said);
    const received = client.received(roomId);
    expect(new Set(received).size).to.equal(received.length);
    const old = await ask(server.url, 'GET', '/account/whoami', { token: client.login.access_token });
    expect([old.status, old.body.errcode]).to.deep.equal([401, 'M_UNKNOWN_TOKEN']);
  });

  it('are logged out softly when they let a token expire, and go on from their sync token after a refresh', async () => {
    const talker = await started(await SdkClient.register(server.url, 'machi'));
    const client = await started(await SdkClient.register(server.url, 'nemuri', {}, { refresh_token: true }));
    const { room_id: roomId } = await talker.client.createRoom({ preset: Preset.PublicChat });
    await client.client.joinRoom(roomId);
    await client.room(roomId);
    await server.clock.advance(EXPIRED_MS);
    const { event_id: missed } = await talker.client.sendTextMessage(roomId, '起きて');
    await client.until('the logout', () => client.loggedOut.length > 0);
    expect(client.loggedOut[0]!.data).to.include({ errcode: 'M_UNKNOWN_TOKEN', soft_logout: true });
    client.stop();
    const fresh = await must(server.url, 'POST', '/refresh', { body: { refresh_token: client.login.refresh_token } });
    const back = await started(client.reopened(fresh));
    await back.sees(roomId, missed);
    expect(back.syncs[0]!.since).to.equal(client.syncs.at(-1)!.body.next_batch);
    expect(back.texts(roomId)).to.deep.equal(['起きて']);
  });

  it('find out at once when they are logged out on another device: by the device’s deletion, a new password, or logout everywhere', async () => {
    const first = await started(await SdkClient.register(server.url, 'deru'));
    const auth = { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'deru' }, password: PASSWORD };
    const logouts: ((device: SdkClient) => Promise<unknown>)[] = [
      (device) => first.client.deleteDevice(device.login.device_id, auth as never),
      () => first.client.setPassword(auth as never, PASSWORD, true),
      () => must(server.url, 'POST', '/logout/all', { token: first.client.getAccessToken()!, body: {} }),
    ];
    for (const logOut of logouts) {
      const device = await started(await SdkClient.logIn(server.url, 'deru'));
      await logOut(device);
      await device.until('it is logged out', () => device.loggedOut.length > 0);
    }
    await first.until('it is logged out too', () => first.loggedOut.length > 0);
  });

  it('log out cleanly, and log in again on a device of the same name', async () => {
    const before = await started(await SdkClient.register(server.url, 'modoru'));
    const { room_id: roomId } = await before.client.createRoom({ name: '帰る場所' });
    await before.client.logout(true);
    expect((await ask(server.url, 'GET', '/account/whoami', { token: before.login.access_token })).status).to.equal(
      401,
    );
    const again = await started(await SdkClient.logIn(server.url, 'modoru'));
    expect(again.client.getRoom(roomId)?.name).to.equal('帰る場所');
    expect((await again.client.getDevices()).devices.map(({ device_id: id }) => id)).to.deep.equal([
      again.login.device_id,
    ]);
  });

  it('show their own sent message once, whether its answer or /sync comes first', async () => {
    const writer = await started(await SdkClient.register(server.url, 'kaku'));
    const { room_id: roomId } = await writer.client.createRoom({});
    const room = await writer.room(roomId);
    const texts = Array.from({ length: 20 }, (_, index) => `第${index}`);
    const echoes: string[] = [];
    room.on(RoomEvent.Timeline, (event) => {
      if (event.getType() === 'm.room.message') echoes.push(String(event.getContent()['body']));
    });
    await Promise.all(texts.map((text) => writer.client.sendTextMessage(roomId, text)));
    await writer.until(
      'all of them',
      () => writer.received(roomId).length > 0 && writer.texts(roomId).length === texts.length,
    );
    expect([...writer.texts(roomId)].sort()).to.deep.equal([...texts].sort());
    expect(echoes).to.have.length(texts.length);
    expect(writer.client.getSyncState()).to.equal(SyncState.Syncing);
  });
});
