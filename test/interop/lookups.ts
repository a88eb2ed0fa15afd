import { expect } from 'chai';
import { until } from '#test/support/until.ts';
import { type Account, type Json, sameState } from './support/account.ts';
import { inBothDirections, type Rig } from './support/rig.ts';

/** A PNG of 3 by 2 pixels. */
const PICTURE = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAIAAAASFvFNAAAAEklEQVR4nGP4z8DAAMQQxMAAABvcAgFzPqQqAAAAAElFTkSuQmCC',
  'base64',
);

export function lookups(rig: () => Rig): void {
  inBothDirections((host, guest, title) => {
    describe(`lookups, ${title}`, () => {
      let alice: Account;
      let bob: Account;

      before(async () => {
        alice = await rig()[host].user('alice');
        bob = await rig()[guest].user('bob');
      });
      const aliasOf = (name: string): string => `#${name}:${alice.serverName}`;
      const fetchMedia = async (account: Account, path: string): Promise<Response> =>
        fetch(`${account.url}/_matrix/client/v1/media/${path}`, {
          headers: { Authorization: `Bearer ${account.token}` },
        });

      it('an alias leads to the room, and a user joins by it', async () => {
        const name = `garden-${host}`;
        const roomId = await alice.room('11', { room_alias_name: name });
        const found = await bob.must('GET', `/directory/room/${encodeURIComponent(aliasOf(name))}`);
        expect(found.room_id).to.equal(roomId);
        expect(found.servers).to.include(alice.serverName);
        expect(await bob.join(aliasOf(name))).to.equal(roomId);
        await bob.sees(roomId, await alice.say(roomId, 'here'));
        const missing = await bob.ask('GET', `/directory/room/${encodeURIComponent(aliasOf('nowhere'))}`);
        expect([missing.status, missing.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
      });

      it('the list of public rooms is read from the other server, page by page and by search', async () => {
        const names = ['one', 'two', 'three'].map((name) => `${name} public room of ${host}`);
        for (const name of names) await alice.room('11', { name, visibility: 'public' });
        const server = `server=${encodeURIComponent(alice.serverName)}`;
        const seen: Json[] = [];
        for (let since = ''; ;) {
          const page = await bob.must('GET', `/publicRooms?${server}&limit=2${since}`);
          seen.push(...page.chunk);
          if (page.next_batch === undefined) break;
          since = `&since=${encodeURIComponent(page.next_batch)}`;
        }
        expect(seen.map((room) => room.name)).to.include.members(names);
        const filtered = await bob.must('POST', `/publicRooms?${server}`, {
          filter: { generic_search_term: `two public room of ${host}` },
        });
        expect(filtered.chunk.map((room: Json) => room.name)).to.deep.equal([names[1]]);
        expect(filtered.chunk[0]).to.include({ num_joined_members: 1, join_rule: 'public', world_readable: false });
      });

      it('a space shows its rooms to a user who is in none of them', async () => {
        const space = await alice.room('11', { name: 'space', creation_content: { type: 'm.space' } });
        const inner = await alice.room('11', { name: 'inner space', creation_content: { type: 'm.space' } });
        const open = await alice.room('11', { name: 'open' });
        const closed = await alice.room('11', { name: 'closed', preset: 'private_chat' });
        const via = [alice.serverName];
        for (const [parent, child] of [
          [space, inner],
          [space, closed],
          [inner, open],
        ] as const)
          await alice.setState(parent, 'm.space.child', { via }, child);
        await bob.join(space, alice.serverName);
        const { rooms } = await bob.must('GET', `/_matrix/client/v1/rooms/${encodeURIComponent(space)}/hierarchy`);
        expect(rooms.map((room: Json) => room.room_id)).to.deep.equal([space, inner, open]);
        expect(rooms.map((room: Json) => room.name)).to.deep.equal(['space', 'inner space', 'open']);
        expect(rooms[1].children_state.map((event: Json) => event.state_key)).to.deep.equal([open]);
      });

      it('the summary of a room that the server is not in is asked of one that is', async () => {
        const roomId = await alice.room('11', { name: 'summed up', topic: 'in short' });
        const path = (prefix: string): string =>
          `/_matrix/client/${prefix}/${encodeURIComponent(roomId)}?via=${encodeURIComponent(alice.serverName)}`;
        const answer = await bob.ask('GET', path('v1/room_summary'));
        // Synapse has only the old name of it.
        const summary =
          answer.status === 404 ? await bob.must('GET', path('unstable/im.nheko.summary/summary')) : answer.body;
        expect(summary).to.include({
          room_id: roomId,
          name: 'summed up',
          topic: 'in short',
          join_rule: 'public',
          num_joined_members: 1,
        });
      });

      it('media and thumbnails are fetched from the server of its uploader', async () => {
        const response = await fetch(
          `${alice.url}/_matrix/media/v3/upload?filename=${encodeURIComponent('絵 1.png')}`,
          {
            method: 'POST',
            headers: { Authorization: `Bearer ${alice.token}`, 'Content-Type': 'image/png' },
            body: PICTURE,
          },
        );
        const { content_uri: uri } = (await response.json()) as Json;
        const name = String(uri).slice('mxc://'.length);
        const file = await fetchMedia(bob, `download/${name}`);
        expect(file.status).to.equal(200);
        expect(file.headers.get('content-type')).to.equal('image/png');
        expect(decodeURIComponent(file.headers.get('content-disposition') ?? '')).to.include('絵 1.png');
        expect(Buffer.from(await file.arrayBuffer()).equals(PICTURE)).to.equal(true);
        const thumbnail = await fetchMedia(bob, `thumbnail/${name}?width=32&height=32&method=scale`);
        expect(thumbnail.status).to.equal(200);
        expect(thumbnail.headers.get('content-type')).to.match(/^image\//);
        const missing = await fetchMedia(bob, `download/${alice.serverName}/missing`);
        expect(missing.status).to.equal(404);
      });

      it('an event is found by its time on the server that has it', async () => {
        const roomId = await alice.room('11');
        const first = await alice.say(roomId, 'long ago');
        const { origin_server_ts: ts } = await alice.must(
          'GET',
          `/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(first)}`,
        );
        for (let count = 0; count < 25; count++) await alice.say(roomId, `filler ${count}`);
        await bob.join(roomId, alice.serverName);
        const found = await bob.must(
          'GET',
          `/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/timestamp_to_event?ts=${ts}&dir=f`,
        );
        expect(found.event_id).to.equal(first);
        const context = await bob.must(
          'GET',
          `/rooms/${encodeURIComponent(roomId)}/context/${encodeURIComponent(first)}`,
        );
        expect(context.event.content.body).to.equal('long ago');
      });

      it('a token of OpenID is redeemed by the other server’s endpoint', async () => {
        const { access_token: token } = await alice.must(
          'POST',
          `/user/${encodeURIComponent(alice.userId)}/openid/request_token`,
          {},
        );
        const { body } = await rig()[host].askUnsigned(
          'GET',
          `/_matrix/federation/v1/openid/userinfo?access_token=${token}`,
        );
        expect(body).to.deep.equal({ sub: alice.userId });
      });

      it('a room is upgraded: the others see the tombstone and follow into the new room', async () => {
        const roomId = await alice.room('9', { name: 'upgraded' });
        await bob.join(roomId, alice.serverName);
        await bob.isIn(roomId, 'join');
        const { replacement_room: newId } = await alice.must('POST', `/rooms/${encodeURIComponent(roomId)}/upgrade`, {
          new_version: '12',
        });
        const tombstone = await bob.until('the tombstone', () => bob.rooms.get(roomId)!.state.get('m.room.tombstone|'));
        expect(tombstone.content.replacement_room).to.equal(newId);
        await bob.join(newId, alice.serverName);
        const create = await bob.state(newId, 'm.room.create');
        expect(create.predecessor.room_id).to.equal(roomId);
        expect(await bob.state(newId, 'm.room.name')).to.deep.equal({ name: 'upgraded' });
        await alice.sees(newId, await bob.say(newId, 'in the new one'));
        await sameState(newId, alice, bob);
      });

      it('users of rooms in common are found in the directory of users', async () => {
        const user = await rig()[host].user('wisteria');
        await user.must('PUT', `/profile/${encodeURIComponent(user.userId)}/displayname`, {
          displayname: 'Wisteria',
        });
        const roomId = await user.room('11');
        await bob.join(roomId, alice.serverName);
        await until('the remote user is found', async () => {
          const { results } = await bob.must('POST', '/user_directory/search', { search_term: 'wisteria' });
          return results.some((result: Json) => result.user_id === user.userId);
        });
      });
    });
  });
}
