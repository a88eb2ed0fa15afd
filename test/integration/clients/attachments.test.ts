import type { webcrypto } from 'node:crypto';
import { expect } from 'chai';
import type { MatrixEvent } from 'matrix-js-sdk';
import sharp from 'sharp';
import { ChildServer } from '#test/support/child-server.ts';
import { SdkClient } from '#test/support/sdk-client.ts';
import { until } from '#test/support/until.ts';

const ENCRYPTION = { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } };

interface EncryptedFile {
  readonly url: string;
  readonly key: webcrypto.JsonWebKey;
  readonly iv: string;
  readonly hashes: { readonly sha256: string };
  readonly v: 'v2';
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64').replace(/=+$/, '');

/** What clients do with an attachment before they upload it. Client-Server API, "Sending encrypted attachments". */
const encrypt = async (
  content: Uint8Array<ArrayBuffer>,
): Promise<{ readonly data: Uint8Array<ArrayBuffer>; readonly file: Omit<EncryptedFile, 'url'> }> => {
  const counter = new Uint8Array(16);
  crypto.getRandomValues(counter.subarray(0, 8));
  const key = await crypto.subtle.generateKey({ name: 'AES-CTR', length: 256 }, true, ['encrypt', 'decrypt']);
  const data = new Uint8Array(await crypto.subtle.encrypt({ name: 'AES-CTR', counter, length: 64 }, key, content));
  const sha256 = base64(new Uint8Array(await crypto.subtle.digest('SHA-256', data)));
  const exported = await crypto.subtle.exportKey('jwk', key);
  return { data, file: { key: exported, iv: base64(counter), hashes: { sha256 }, v: 'v2' } };
};

const decrypt = async (data: Uint8Array<ArrayBuffer>, { hashes, iv, key }: EncryptedFile): Promise<Buffer> => {
  expect(base64(new Uint8Array(await crypto.subtle.digest('SHA-256', data)))).to.equal(hashes.sha256);
  const imported = await crypto.subtle.importKey('jwk', key, { name: 'AES-CTR' }, false, ['decrypt']);
  const counter = new Uint8Array(Buffer.from(iv, 'base64'));
  return Buffer.from(await crypto.subtle.decrypt({ name: 'AES-CTR', counter, length: 64 }, imported, data));
};

describe('attachments between js-sdk clients', function () {
  this.timeout(120_000);
  let server: ChildServer;
  const clients: SdkClient[] = [];
  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.stop();
  });
  after(() => server?.dispose());

  const registered = async (name: string): Promise<SdkClient> => {
    const client = await SdkClient.register(server.url, name, {});
    clients.push(client);
    await client.client.initRustCrypto({ useIndexedDB: false });
    return client.start();
  };
  const roomOf = async (creator: SdkClient, other: SdkClient, state: readonly object[]): Promise<string> => {
    const { room_id: roomId } = await creator.client.createRoom({
      initial_state: [...state] as never,
      invite: [other.userId],
    });
    await other.room(roomId);
    await other.client.joinRoom(roomId);
    await creator.until(`${other.userId} is in`, () => creator.membership(roomId, other.userId) === 'join');
    return roomId;
  };
  const upload = async ({ client }: SdkClient, content: Uint8Array<ArrayBuffer>, type: string, name?: string) =>
    (await client.uploadContent(new Blob([content], { type }), { type, ...(name === undefined ? {} : { name }) }))
      .content_uri;
  /** As a client fetches it: by the address that the SDK makes of it. */
  const download = async ({ client }: SdkClient, uri: string, ...size: [number, number, string] | []) => {
    const [width, height, method] = size;
    const address = client.mxcUrlToHttp(uri, width, height, method, false, true, true);
    const response = await fetch(address!, { headers: { Authorization: `Bearer ${client.getAccessToken()}` } });
    expect(response.status).to.equal(200);
    return { headers: response.headers, bytes: new Uint8Array(await response.arrayBuffer()) };
  };
  const received = (reader: SdkClient, roomId: string, eventId: string): Promise<MatrixEvent> =>
    reader.until<MatrixEvent>(`event ${eventId}`, () => {
      const event = reader.client.getRoom(roomId)?.findEventById(eventId);
      return event?.getType() === 'm.room.message' && !event.isDecryptionFailure() ? event : undefined;
    });

  it('arrive as they were sent, with their names and thumbnails', async () => {
    const alice = await registered('att-alice');
    const bob = await registered('att-bob');
    const roomId = await roomOf(alice, bob, []);
    const picture = new Uint8Array(
      await sharp({ create: { width: 1000, height: 500, channels: 3, background: 'teal' } })
        .png()
        .toBuffer(),
    );
    const config = await alice.client.getMediaConfig();
    expect(config['m.upload.size']).to.be.above(picture.length);
    const url = await upload(alice, picture, 'image/png', '写真.png');
    const content = { msgtype: 'm.image', body: '写真.png', url, info: { mimetype: 'image/png', w: 1000, h: 500 } };
    const { event_id: eventId } = await alice.client.sendMessage(roomId, content as never);
    const event = await received(bob, roomId, eventId);
    const seen = String(event.getContent()['url']);
    const { bytes, headers } = await download(bob, seen);
    expect(Buffer.from(bytes).equals(picture)).to.equal(true);
    expect(headers.get('content-disposition')).to.equal("inline; filename*=utf-8''%E5%86%99%E7%9C%9F.png");
    const thumbnail = await download(bob, seen, 320, 240, 'scale');
    const { width, height } = await sharp(thumbnail.bytes).metadata();
    expect([width, height]).to.deep.equal([320, 160]);
  });

  it('are read by whoever was sent their keys, and are noise to the server', async () => {
    const alice = await registered('att-carol');
    const bob = await registered('att-dave');
    const roomId = await roomOf(alice, bob, [ENCRYPTION]);
    for (const member of [alice, bob])
      await until('it is encrypted', () => member.client.getCrypto()!.isEncryptionEnabledInRoom(roomId));
    const secret = new Uint8Array(Buffer.from('誰にも言わないで'.repeat(10_000)));
    const { data, file } = await encrypt(secret);
    const url = await upload(alice, data, 'application/octet-stream');
    const content = { msgtype: 'm.file', body: 'secret.txt', file: { ...file, url } };
    const { event_id: eventId } = await alice.client.sendMessage(roomId, content as never);
    const event = await received(bob, roomId, eventId);
    expect(event.isEncrypted()).to.equal(true);
    const told = event.getContent()['file'] as EncryptedFile;
    const { bytes, headers } = await download(bob, told.url);
    expect(headers.get('content-disposition')).to.equal('attachment');
    expect((await decrypt(bytes, told)).equals(secret)).to.equal(true);
    expect(Buffer.from(bytes).includes('誰にも')).to.equal(false);
  });

  it('can be announced before they are uploaded, and come to who waits for them', async () => {
    const alice = await registered('att-erin');
    const bob = await registered('att-frank');
    const roomId = await roomOf(alice, bob, []);
    const create = await fetch(`${server.url}/_matrix/media/v1/create`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${alice.client.getAccessToken()}` },
    });
    const { content_uri: url } = (await create.json()) as { content_uri: string };
    const content = { msgtype: 'm.file', body: 'later.txt', url };
    const { event_id: eventId } = await alice.client.sendMessage(roomId, content as never);
    await received(bob, roomId, eventId);
    const waiting = download(bob, url);
    await fetch(`${server.url}/_matrix/media/v3/upload/${url.slice(6)}?filename=later.txt`, {
      method: 'PUT',
      headers: { Authorization: `Bearer ${alice.client.getAccessToken()}`, 'Content-Type': 'text/plain' },
      body: 'here it is',
    });
    const { bytes, headers } = await waiting;
    expect(Buffer.from(bytes).toString()).to.equal('here it is');
    expect(headers.get('content-disposition')).to.equal('inline; filename=later.txt');
  });
});
