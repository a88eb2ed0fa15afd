import { expect } from 'chai';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { ADMIN, downloadMedia, filesIn, uploadMedia } from '#test/support/media.ts';
import { join } from 'node:path';

const DAY_MS = 86_400_000;
const NEVER = new AbortController().signal;

describe('media that something names', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let count = 0;

  before(async () => {
    server = await InProcessServer.start({ config: { retention: { pauseMs: 0 } } });
  });
  after(() => server?.stop());

  const upload = (token: string): Promise<string> => uploadMedia(server, token, `content ${(count += 1)}`);
  const send = async (token: string, roomId: string, content: object, type = 'm.room.message'): Promise<string> =>
    (await server.must(token, 'PUT', `/rooms/${roomId}/send/${type}/m${(count += 1)}`, content)).event_id;
  const image = (url: string): object => ({ msgtype: 'm.image', body: 'an image', url });
  const redact = (token: string, roomId: string, eventId: string): Promise<unknown> =>
    server.must(token, 'PUT', `/rooms/${roomId}/redact/${eventId}/r${(count += 1)}`, {});
  /** Lets days go by, and cleans. */
  const days = async (number: number): Promise<void> => {
    await server.idle();
    server.clock.set(number * DAY_MS);
    await inTime(server.services.mediaCleaner.clean(NEVER));
  };
  /** Lets the pauses of a piece of work pass. */
  const inTime = async (work: Promise<unknown>): Promise<void> => {
    let isDone = false;
    const done = work.finally(() => (isDone = true));
    while (!isDone) await server.clock.advance(100);
    await done;
  };
  const isThere = async (uri: string): Promise<boolean> => (await downloadMedia(server, 'bob', uri)).status === 200;
  const files = async (): Promise<number> => (await filesIn(join(server.folder, 'media'))).length;

  it('stays for a week after the only message that named it was redacted, and is gone then with its bytes', async () => {
    const room = await server.room('alice');
    const before = await files();
    const uri = await upload('alice');
    const message = await send('alice', room, image(uri));
    await days(30);
    expect(await isThere(uri)).to.equal(true);
    await redact('alice', room, message);
    await days(6);
    expect(await isThere(uri)).to.equal(true);
    await days(2);
    const gone = await downloadMedia(server, 'bob', uri);
    expect([gone.status, gone.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await files()).to.equal(before);
  });

  it('stays as long as another message, of another room, names it', async () => {
    const [room, other] = [await server.room('alice'), await server.room('bob')];
    const uri = await upload('alice');
    const first = await send('alice', room, image(uri));
    const second = await send('bob', other, { msgtype: 'm.file', body: 'x', info: { thumbnail_url: uri } });
    await redact('alice', room, first);
    await days(30);
    expect(await isThere(uri)).to.equal(true);
    await redact('bob', other, second);
    await days(30);
    expect(await isThere(uri)).to.equal(false);
  });

  it('counts wherever its name stands: in encrypted files, stickers, reactions, HTML, and state of rooms', async () => {
    const room = await server.room('alice');
    const shapes: [string, (uri: string) => object][] = [
      ['m.room.message', (url) => ({ msgtype: 'm.file', body: 'x', file: { url, v: 'v2' } })],
      ['m.room.message', (url) => ({ msgtype: 'm.video', body: 'x', info: { thumbnail_file: { url } } })],
      ['m.sticker', (url) => ({ body: 'x', url, info: {} })],
      ['m.reaction', (url) => ({ 'm.relates_to': { rel_type: 'm.annotation', event_id: '$x', key: url } })],
      ['m.room.message', (url) => ({ msgtype: 'm.text', body: 'x', formatted_body: `<img src="${url}">` })],
      ['org.example.gallery', (url) => ({ images: [{ url }] })],
    ];
    const uris: string[] = [];
    const events: string[] = [];
    for (const [type, content] of shapes) {
      const uri = await upload('alice');
      uris.push(uri);
      events.push(await send('alice', room, content(uri), type));
    }
    const { media, references } = await server
      .idle()
      .then(() => server.services.mediaModeration.info({ serverName: 'test', mediaId: uris[0]!.split('/').at(-1)! }));
    expect(media.userId).to.equal('@alice:test');
    expect(references.events).to.have.length(1);
    for (const event of events) await redact('alice', room, event);
    await days(8);
    expect(await Promise.all(uris.map(isThere))).to.deep.equal(uris.map(() => false));
  });

  it('is never deleted for want of a name where no clear text ever named it: an encrypted message may', async () => {
    const room = await server.room('alice', {
      initial_state: [{ type: 'm.room.encryption', content: { algorithm: 'm.megolm.v1.aes-sha2' } }],
    });
    const uri = await upload('alice');
    const encrypted = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'opaque', session_id: 's' };
    const message = await send('alice', room, encrypted, 'm.room.encrypted');
    await redact('alice', room, message);
    await days(400);
    expect(await isThere(uri)).to.equal(true);
  });

  it('stays as an avatar, and as an image of a pack, whatever becomes of the messages that named it', async () => {
    const room = await server.room('carol');
    const [avatar, pack] = [await upload('carol'), await upload('carol')];
    const messages = [await send('carol', room, image(avatar)), await send('carol', room, image(pack))];
    const elsewhere = 'dave';
    await server.setProfile(elsewhere, { avatar_url: avatar });
    const path = `/user/${(await server.session(elsewhere)).userId}/account_data/im.ponies.user_emotes`;
    await server.must(elsewhere, 'PUT', path, { images: { smile: { url: pack } } });
    for (const message of messages) await redact('carol', room, message);
    await days(30);
    expect([await isThere(avatar), await isThere(pack)]).to.deep.equal([true, true]);
    const { references } = await server.services.mediaModeration.info({
      serverName: 'test',
      mediaId: avatar.split('/').at(-1)!,
    });
    expect(references.profiles).to.deep.equal(['@dave:test']);
    // The avatar is nobody's any more, and was named in no room.
    await server.setProfile(elsewhere, {});
    await days(8);
    expect([await isThere(avatar), await isThere(pack)]).to.deep.equal([false, true]);
  });

  it('goes when the history that named it is purged, unless it is what the room is shown by', async () => {
    const room = await server.room('alice');
    const [shown, said, kept] = [await upload('alice'), await upload('alice'), await upload('alice')];
    await server.setState('alice', room, 'm.room.avatar', { url: shown });
    await send('alice', room, image(said));
    await server.idle();
    server.clock.set(DAY_MS);
    await send('alice', room, image(kept));
    await server.say('alice', room, 'the newest');
    await server.idle();
    const held = (await server.services.rooms.byId(room))!;
    await inTime(server.services.purge.purgeHistory(held, server.clock.now() - DAY_MS / 2));
    await days(8);
    expect([await isThere(shown), await isThere(said), await isThere(kept)]).to.deep.equal([true, false, true]);
  });

  it('keeps its bytes as long as the same content lies there under another name, and no longer', async () => {
    const room = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', room);
    const before = await files();
    const uris = [await uploadMedia(server, 'alice', 'twice'), await uploadMedia(server, 'bob', 'twice')];
    const messages = [await send('alice', room, image(uris[0]!)), await send('bob', room, image(uris[1]!))];
    expect(await files()).to.equal(before + 1);
    await redact('alice', room, messages[0]!);
    await days(8);
    expect([await isThere(uris[0]!), await isThere(uris[1]!), await files()]).to.deep.equal([false, true, before + 1]);
    await redact('alice', room, messages[1]!);
    await days(8);
    expect([await isThere(uris[1]!), await files()]).to.deep.equal([false, before]);
  });

  it('is not deleted by another user who names it and takes that back, in messages, in a purged history or in a profile', async () => {
    const [room, other] = [await server.room('alice'), await server.room('mallory')];
    const uri = await upload('alice');
    const encrypted = { algorithm: 'm.megolm.v1.aes-sha2', ciphertext: 'opaque', session_id: 's' };
    await send('alice', room, encrypted, 'm.room.encrypted');
    await redact('mallory', other, await send('mallory', other, image(uri)));
    const late = await send('mallory', other, image(uri));
    await server.idle();
    await redact('mallory', other, late);
    await server.setProfile('mallory', { avatar_url: uri });
    await server.setProfile('mallory', {});
    await send('mallory', other, image(uri));
    await server.idle();
    server.clock.set(DAY_MS);
    await server.say('mallory', other, 'the newest');
    await server.idle();
    const held = (await server.services.rooms.byId(other))!;
    await inTime(server.services.purge.purgeHistory(held, server.clock.now() - DAY_MS / 2));
    await days(30);
    expect(await isThere(uri)).to.equal(true);
  });

  it('stays where it is quarantined, whoever takes back what named it, until the quarantine is lifted', async () => {
    const room = await server.room('alice');
    const uris = [await upload('alice'), await uploadMedia(server, 'alice', 'the same')];
    const { mediaModeration } = server.services;
    const nameOf = (uri: string): { serverName: string; mediaId: string } => ({
      serverName: 'test',
      mediaId: uri.split('/').at(-1)!,
    });
    const names = uris.map(nameOf);
    for (const uri of uris) await redact('alice', room, await send('alice', room, image(uri)));
    await mediaModeration.quarantine(names[0]!, ADMIN);
    // By its content, of which another upload is quarantined.
    await mediaModeration.quarantine(nameOf(await uploadMedia(server, 'bob', 'the same')), ADMIN);
    await days(30);
    for (const name of names) expect((await mediaModeration.info(name)).media.quarantined).to.equal(true);
    for (const name of names) await mediaModeration.unquarantine(name, ADMIN);
    await days(1);
    expect(await Promise.all(uris.map(isThere))).to.deep.equal([false, false]);
  });

  it('is found in account data beside names that are too long to be any, and however many there are', async () => {
    const room = await server.room('alice');
    const uri = await upload('alice');
    const message = await send('alice', room, image(uri));
    const images = Object.fromEntries(
      Array.from({ length: 2_000 }, (_, n) => [`x${n}`, `mxc://example.org/image${n}`]),
    );
    const tooLong = [`mxc://test/${'i'.repeat(40_000)}`, `mxc://${'s'.repeat(40_000)}/id`, 'mxc://'.repeat(2_000)];
    const path = `/user/${(await server.session('bob')).userId}/account_data/im.ponies.user_emotes`;
    await server.must('bob', 'PUT', path, { images, tooLong, pack: { avatar_url: uri } });
    await redact('alice', room, message);
    await days(30);
    expect(await isThere(uri)).to.equal(true);
    await server.must('bob', 'PUT', path, {});
    await days(30);
    expect(await isThere(uri)).to.equal(false);
  });

  it('is looked for again when others still named it as its uploader let it go', async () => {
    const [room, other] = [await server.room('alice'), await server.room('bob')];
    const uri = await upload('alice');
    const [own, forwarded] = [await send('alice', room, image(uri)), await send('bob', other, image(uri))];
    await redact('alice', room, own);
    await days(8);
    await redact('bob', other, forwarded);
    expect(await isThere(uri)).to.equal(true);
    await days(8);
    expect(await isThere(uri)).to.equal(false);
  });

  it('is named again in time: whoever sends it anew keeps it', async () => {
    const room = await server.room('alice');
    const uri = await upload('alice');
    await redact('alice', room, await send('alice', room, image(uri)));
    await days(5);
    await send('alice', room, image(uri));
    await days(30);
    expect(await isThere(uri)).to.equal(true);
  });

  it('goes with its uploader’s erasure, whether it was named or not; what others show stays', async () => {
    const room = await server.room('alice', { preset: 'public_chat' });
    await server.join('erased', room);
    const [said, unseen, adopted] = [await upload('erased'), await upload('erased'), await upload('erased')];
    await send('erased', room, image(said));
    await server.setProfile('alice', { avatar_url: adopted });
    await server.idle();
    await server.services.accounts.deactivate('@erased:test', true);
    await server.idle();
    await days(8);
    expect([await isThere(said), await isThere(unseen), await isThere(adopted)]).to.deep.equal([false, false, true]);
    await server.setProfile('alice', {});
  });

  it('of a room that is deleted is released in steps', async () => {
    const room = await server.room('alice');
    const uri = await upload('alice');
    await send('alice', room, image(uri));
    await server.idle();
    const { nid } = (await server.services.rooms.byId(room))!;
    expect(await server.services.mediaReferences.releaseRoom(nid, NEVER)).to.equal(true);
    await days(8);
    expect(await isThere(uri)).to.equal(false);
  });

  it('costs a message without any nothing, and a message with some one statement behind it', async () => {
    const room = await server.room('alice');
    await server.say('alice', room, 'warm');
    await server.idle();
    const names = async (work: () => Promise<unknown>): Promise<string[]> =>
      (
        await server.statementNames(async () => {
          await work();
          await server.idle();
        })
      ).filter((name) => name.startsWith('media'));
    expect(await names(() => server.say('alice', room, 'words'))).to.deep.equal([]);
    const uri = await upload('alice');
    expect(await names(() => send('alice', room, image(uri)))).to.deep.equal(['media_reference_insert']);
  });
});
