import { usageOfUser } from '#src/storage/media/media.ts';
import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { join } from 'node:path';
import sharp from 'sharp';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { beginBlob, completeBlob } from '#src/storage/media/blobs.ts';
import { findMedia, insertMedia } from '#src/storage/media/media.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { EICAR, FakeClamd } from '#test/support/stand-ins/clamd.ts';
import { ADMIN, downloadMedia, fetchMedia, filesIn, uploadMedia } from '#test/support/media.ts';

const DAY_MS = 86_400_000;
const NEVER = new AbortController().signal;

const nameOf = (uri: string): { serverName: string; mediaId: string } => ({
  serverName: 'test',
  mediaId: uri.split('/').at(-1) ?? '',
});
const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('an administrator', function () {
  let server: InProcessServer;
  let count = 0;
  const text = (): string => `content ${(count += 1)}`;
  const isThere = async (uri: string): Promise<boolean> => {
    const { status, errcode } = await downloadMedia(server, 'bob', uri);
    if (status !== 200) expect([status, errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
    return status === 200;
  };
  const upload = (token = 'alice', content = text()): Promise<string> => uploadMedia(server, token, content);
  const files = async (): Promise<number> => (await filesIn(join(server.folder, 'media'))).length;
  const errcodeOf = async (work: Promise<unknown>): Promise<string | undefined> => {
    let failure: unknown;
    await work.catch((error: unknown) => (failure = error));
    return failure instanceof MatrixError ? failure.errcode : undefined;
  };

  before(async () => {
    server = await InProcessServer.start({ config: { retention: { pauseMs: 0 } } });
  });
  after(() => server?.stop());

  it('quarantines a file with its thumbnails and everything of the same bytes, uploaded before or after', async () => {
    const { mediaModeration } = server.services;
    const png = new Uint8Array(
      await sharp({ create: { width: 700, height: 700, channels: 3, background: 'blue' } })
        .png()
        .toBuffer(),
    );
    const uri = await uploadMedia(server, 'alice', png, 'image/png');
    const same = await uploadMedia(server, 'bob', png, 'image/png');
    const thumbnail = async (of: string): Promise<number> =>
      (await fetchMedia(server, 'bob', `/_matrix/client/v1/media/thumbnail/${of.slice(6)}?width=32&height=32`)).status;
    expect(await thumbnail(uri)).to.equal(200);
    expect(await mediaModeration.quarantine(nameOf(uri), ADMIN)).to.equal(true);
    const later = await uploadMedia(server, 'carol', png, 'image/png');
    for (const one of [uri, same, later])
      expect([await isThere(one), await thumbnail(one)]).to.deep.equal([false, 404]);
    await mediaModeration.unquarantine(nameOf(uri), ADMIN);
    for (const one of [uri, same, later]) expect(await isThere(one)).to.equal(true);
  });

  it('quarantines all that a user has uploaded, or that a room names, but for what is protected', async () => {
    const { mediaMaintenance, mediaModeration } = server.services;
    const uris = await Promise.all(Array.from({ length: 5 }, () => upload('mallory')));
    await mediaModeration.protect(nameOf(uris[2]!).mediaId, true, ADMIN);
    expect((await mediaMaintenance.quarantineUser('@mallory:test', ADMIN)).count).to.equal(4);
    expect(await Promise.all(uris.map(isThere))).to.deep.equal([false, false, true, false, false]);
    expect((await mediaMaintenance.quarantineUser('@mallory:test', ADMIN)).count).to.equal(0);
    const room = await server.room('alice');
    const [inRoom, elsewhere] = [await upload('bob'), await upload('bob')];
    await server.must('alice', 'PUT', `/rooms/${room}/send/m.room.message/1`, {
      msgtype: 'm.image',
      body: 'x',
      url: inRoom,
    });
    await server.idle();
    expect((await mediaMaintenance.quarantineRoom(room, ADMIN)).count).to.equal(1);
    expect([await isThere(inRoom), await isThere(elsewhere)]).to.deep.equal([false, true]);
  });

  it('protects a file from quarantine, which frees one that is quarantined by itself or by its content', async () => {
    const { mediaModeration } = server.services;
    const content = text();
    const uri = await upload('alice', content);
    await mediaModeration.quarantine(nameOf(uri), ADMIN);
    await mediaModeration.protect(nameOf(uri).mediaId, true, ADMIN);
    expect(await isThere(uri)).to.equal(true);
    expect(await mediaModeration.quarantine(nameOf(uri), ADMIN)).to.equal(false);
    await mediaModeration.quarantine(nameOf(await upload('bob', content)), ADMIN);
    expect(await isThere(uri)).to.equal(true);
    await mediaModeration.protect(nameOf(uri).mediaId, false, ADMIN);
    expect(await isThere(uri)).to.equal(false);
  });

  it('deletes a file at once with its bytes, unless they lie there under another name too, and gives its user the space back', async () => {
    const { mediaModeration } = server.services;
    const before = await files();
    const content = text();
    const [first, second] = [await upload('dave', content), await upload('erin', content)];
    expect((await usageOfUser(server.services.database, '@dave:test')).bytes).to.equal(content.length);
    await mediaModeration.delete(nameOf(first), ADMIN);
    await server.idle();
    expect([await isThere(first), await isThere(second), await files()]).to.deep.equal([false, true, before + 1]);
    expect((await usageOfUser(server.services.database, '@dave:test')).files).to.equal(0);
    await mediaModeration.delete(nameOf(second), ADMIN);
    await server.idle();
    expect([await isThere(second), await files()]).to.deep.equal([false, before]);
    expect(await errcodeOf(mediaModeration.delete(nameOf(second), ADMIN))).to.equal('M_NOT_FOUND');
  });

  it('deletes what nobody has asked for and is larger than wanted, but for pictures that people and rooms are shown by', async () => {
    const { mediaMaintenance } = server.services;
    const [avatar, large, small] = [
      await upload('grace', 'a'.repeat(900)),
      await upload('grace', 'b'.repeat(900)),
      await upload('grace'),
    ];
    await server.setProfile('grace', { avatar_url: avatar });
    server.clock.set(DAY_MS);
    const recent = await upload('grace', 'c'.repeat(900));
    const wish = { before: server.clock.now() - 1, largerThan: 500 };
    await mediaMaintenance.deleteOld({ ...wish, keepsShown: true }, ADMIN);
    expect(await Promise.all([avatar, large, small, recent].map(isThere))).to.deep.equal([true, false, true, true]);
    server.clock.set(2 * DAY_MS); // it was asked for just now
    await mediaMaintenance.deleteOld({ ...wish, before: server.clock.now() - 1, keepsShown: false }, ADMIN);
    expect(await isThere(avatar)).to.equal(false);
  });
});

describe('media that nobody asks for', function () {
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({
      config: {
        retention: { pauseMs: 0 },
        media: { retention: { localLifetimeMs: 30 * DAY_MS, remoteLifetimeMs: 10 * DAY_MS } },
      },
    });
  });
  after(() => server?.stop());

  it('go after their time; who is asked for, shown, protected or quarantined stays', async () => {
    const { mediaModeration, mediaCleaner } = server.services;
    const uris = new Map<string, string>();
    for (const name of ['forgotten', 'wanted', 'avatar', 'protected', 'quarantined', 'message'])
      uris.set(name, await uploadMedia(server, 'alice', name));
    const uri = (name: string): string => uris.get(name)!;
    await server.setProfile('alice', { avatar_url: uri('avatar') });
    await mediaModeration.protect(nameOf(uri('protected')).mediaId, true, ADMIN);
    await mediaModeration.quarantine(nameOf(uri('quarantined')), ADMIN);
    const room = await server.room('alice');
    await server.must('alice', 'PUT', `/rooms/${room}/send/m.room.message/1`, {
      msgtype: 'm.image',
      body: 'x',
      url: uri('message'),
    });
    const writes: string[] = [];
    for (let day = 0; day < 40; day++) {
      server.clock.set(DAY_MS);
      writes.push(
        ...(await server.statementNames(async () => {
          for (let n = 0; n < 3; n++) await downloadMedia(server, 'bob', uri('wanted'));
          await server.idle();
        })),
      );
    }
    expect(writes.filter((name) => name === 'media_accessed').length, 'one write a day').to.equal(40);
    await mediaCleaner.clean(NEVER);
    const left = async (name: string): Promise<boolean> =>
      mediaModeration.info(nameOf(uri(name))).then(
        () => true,
        () => false,
      );
    const outcome = await Promise.all([...uris.keys()].map(async (name) => [name, await left(name)] as const));
    expect(Object.fromEntries(outcome)).to.deep.equal({
      forgotten: false,
      wanted: true,
      avatar: true,
      protected: true,
      quarantined: true,
      message: false,
    });
  });

  it('of other servers have a time of their own', async () => {
    const { database, mediaCleaner } = server.services;
    await beginBlob(database, 'remoteobject', 'file', server.clock.now());
    await database.write(async (tx) => {
      await completeBlob(tx, 'remoteobject', { digest: digestOf('remote'), size: 6 });
      const remote = {
        origin: 'far.example',
        mediaId: 'abc',
        userId: '',
        createdTs: server.clock.now(),
        expiresTs: null,
      };
      await insertMedia(tx, remote, { blob: 'remoteobject', size: 6, contentType: 'text/plain', filename: undefined });
    });
    server.clock.set(9 * DAY_MS);
    await mediaCleaner.clean(NEVER);
    expect(await findMedia(database, 'far.example', 'abc')).not.to.equal(undefined);
    server.clock.set(2 * DAY_MS);
    await mediaCleaner.clean(NEVER);
    expect(await findMedia(database, 'far.example', 'abc')).to.equal(undefined);
  });
});

describe('media that a scanner looks at', function () {
  let clamd: FakeClamd;
  let server: InProcessServer;
  before(async () => {
    clamd = await FakeClamd.start();
    server = await InProcessServer.start({
      config: { media: { clamd: { address: clamd.address, timeoutMs: 5_000 } } },
    });
  });
  after(async () => {
    await server?.stop();
    await clamd?.stop();
  });

  it('are looked at once, before they are handed out, and withheld when they are infected', async () => {
    const [good, bad] = [await uploadMedia(server, 'alice', 'good'), await uploadMedia(server, 'alice', EICAR)];
    expect(clamd.scanned).to.equal(0);
    const answers = await Promise.all(Array.from({ length: 5 }, () => downloadMedia(server, 'bob', good)));
    expect(answers.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200, 200]);
    expect(clamd.scanned).to.equal(1);
    for (let n = 0; n < 2; n++) {
      const { status, errcode } = await downloadMedia(server, 'bob', bad);
      expect([status, errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
    }
    expect(clamd.scanned).to.equal(2);
    const thumbnail = await fetchMedia(
      server,
      'bob',
      `/_matrix/client/v1/media/thumbnail/${bad.slice(6)}?width=32&height=32`,
    );
    expect(thumbnail.status).to.equal(404);
    expect(await uploadMedia(server, 'carol', EICAR).then((uri) => downloadMedia(server, 'bob', uri))).to.include({
      status: 404,
    });
    expect(clamd.scanned).to.equal(2);
  });

  it('are looked at whole, however large they are', async () => {
    const large = new Uint8Array(3_000_000);
    const uri = await uploadMedia(server, 'alice', large, 'application/octet-stream');
    large.set(Buffer.from(EICAR), 2_900_000);
    const infected = await uploadMedia(server, 'alice', large, 'application/octet-stream');
    expect((await downloadMedia(server, 'bob', uri)).bytes.length).to.equal(3_000_000);
    expect((await downloadMedia(server, 'bob', infected)).status).to.equal(404);
  });

  for (const mood of ['break', 'limit', 'nothing'] as const) {
    it(`are not handed out while the scanner does not say what they are (${mood}), and are afterwards`, async () => {
      const uri = await uploadMedia(server, 'alice', `not looked at: ${mood}`);
      clamd.mood = mood;
      const asking = downloadMedia(server, 'bob', uri);
      let isDone = false;
      const answer = asking.finally(() => (isDone = true));
      while (!isDone) await server.clock.advance(100);
      const { status, errcode, headers } = await answer;
      expect([status, errcode, headers.get('retry-after')]).to.deep.equal([503, 'M_UNKNOWN', '10']);
      clamd.mood = 'well';
      expect((await downloadMedia(server, 'bob', uri)).status).to.equal(200);
    });
  }
});
