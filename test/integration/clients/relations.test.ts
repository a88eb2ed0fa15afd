import { expect } from 'chai';
import { Direction, EventType, MsgType, Preset, RelationType, RoomType } from 'matrix-js-sdk';
import { RoomHierarchy } from 'matrix-js-sdk/lib/room-hierarchy.js';
import { ChildServer } from '#test/support/child-server.ts';
import { ask, must } from '#test/support/http.ts';
import { SdkClient } from '#test/support/sdk-client.ts';
import { until } from '#test/support/until.ts';

describe('clients that edit, react, talk in threads, and look around in spaces', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let alice: SdkClient;
  let bob: SdkClient;
  let roomId: string;
  let spaceId: string;

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    alice = await (await SdkClient.register(server.url, 'alice')).start();
    bob = await (await SdkClient.register(server.url, 'bob')).start();
    ({ room_id: roomId } = await alice.client.createRoom({ name: '談話室', preset: Preset.PublicChat }));
    ({ room_id: spaceId } = await alice.client.createRoom({
      name: '空間',
      preset: Preset.PublicChat,
      creation_content: { type: RoomType.Space },
    }));
    await bob.client.joinRoom(roomId);
    await bob.room(roomId);
    await alice.until('bob', () => alice.membership(roomId, bob.userId) === 'join');
  });
  after(async () => {
    alice?.stop();
    bob?.stop();
    await server?.dispose();
  });

  const say = async (who: SdkClient, body: string): Promise<string> =>
    (await who.client.sendTextMessage(roomId, body)).event_id;
  const edit = async (who: SdkClient, eventId: string, body: string): Promise<string> => {
    const content = { msgtype: MsgType.Text as const, body };
    const { event_id: id } = await who.client.sendMessage(roomId, {
      ...content,
      body: `* ${body}`,
      'm.new_content': content,
      'm.relates_to': { rel_type: RelationType.Replace, event_id: eventId },
    });
    return id;
  };

  it('show an edit, live and to those who read it later', async () => {
    const eventId = await say(alice, 'こんにちわ');
    await bob.sees(roomId, eventId);
    await edit(alice, eventId, 'こんにちは');
    await bob.until('the edit', () => bob.texts(roomId).includes('こんにちは'));
    const later = await bob.client.fetchRoomEvent(roomId, eventId);
    expect(later.unsigned?.['m.relations']?.['m.replace']).to.have.nested.property(
      'content.m\\.new_content.body',
      'こんにちは',
    );
    const { events } = await bob.client.relations(roomId, eventId, RelationType.Replace, EventType.RoomMessage);
    expect(events).to.have.length(1);
  });

  it('find the edit with a message that is searched for, and in a limited sync', async () => {
    const eventId = await say(alice, 'unmistakeable');
    await edit(alice, eventId, 'corrected');
    const token = bob.login.access_token;
    const filter = encodeURIComponent(JSON.stringify({ room: { timeline: { limit: 2 } } }));
    const { rooms } = await must(server.url, 'GET', `/sync?filter=${filter}`, { token });
    const { timeline } = rooms.join[roomId];
    expect([timeline.limited, timeline.events[0].event_id]).to.deep.equal([true, eventId]);
    expect(timeline.events[0].unsigned['m.relations']['m.replace'].content['m.new_content'].body).to.equal('corrected');
    const wish = { search_categories: { room_events: { search_term: 'unmistakeable' } } };
    const first = await until('it is found', async () => {
      const found = await must(server.url, 'POST', '/search', { token, body: wish });
      return found.search_categories.room_events.results[0];
    });
    expect(first.result.unsigned['m.relations']).to.have.property('m.replace');
  });

  it('list the threads of a room, with the latest reply and who takes part', async () => {
    const root = await say(alice, '話題');
    for (const body of ['一', '二']) {
      await alice.client.sendMessage(roomId, {
        msgtype: MsgType.Text,
        body,
        'm.relates_to': { rel_type: RelationType.Thread, event_id: root },
      });
    }
    await bob.sees(roomId, root);
    const room = await bob.room(roomId);
    await room.createThreadsTimelineSets();
    await room.fetchRoomThreads();
    const thread = await bob.until('the thread', () => room.getThread(root));
    await bob.until('both replies', () => thread.length === 2);
    expect(thread.replyToEvent?.getContent()['body']).to.equal('二');
    expect(thread.hasCurrentUserParticipated).to.equal(false);
  });

  it('cannot react twice in the same way', async () => {
    const eventId = await say(bob, '賛成？');
    const react = (): Promise<unknown> =>
      alice.client.sendEvent(roomId, EventType.Reaction, {
        'm.relates_to': { rel_type: RelationType.Annotation, event_id: eventId, key: '👍' },
      });
    await react();
    const refused = await react().then(
      () => undefined,
      (error: { errcode?: string }) => error.errcode,
    );
    expect(refused).to.equal('M_DUPLICATE_ANNOTATION');
  });

  it('jump to a date', async () => {
    const eventId = await say(alice, 'いま');
    const { origin_server_ts: ts } = await bob.client.fetchRoomEvent(roomId, eventId);
    const found = await bob.client.timestampToEvent(roomId, ts ?? 0, Direction.Forward);
    expect(found.event_id).to.equal(eventId);
  });

  it('look through a space before they are in its rooms, and at a room before they join', async () => {
    const { room_id: inner } = await alice.client.createRoom({ name: '部屋', preset: Preset.PublicChat });
    for (const child of [inner, roomId]) {
      await alice.client.sendStateEvent(spaceId, EventType.SpaceChild, { via: ['localhost'] }, child);
    }
    await bob.client.joinRoom(spaceId);
    const hierarchy = new RoomHierarchy(await bob.room(spaceId), 2);
    while (hierarchy.canLoadMore) await hierarchy.load();
    expect(hierarchy.rooms?.map((room) => room.name)).to.deep.equal(['空間', '部屋', '談話室']);
    const summary = await bob.client.getRoomSummary(inner);
    expect([summary.name, summary.membership]).to.deep.equal(['部屋', 'leave']);
    const { status } = await ask(server.url, 'GET', `/_matrix/client/v1/room_summary/${encodeURIComponent(inner)}`);
    expect(status).to.equal(200);
  });
});
