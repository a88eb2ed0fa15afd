import { expect } from 'chai';
import { EventType, MsgType, Preset, ReceiptType, RelationType, RoomMemberEvent } from 'matrix-js-sdk';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { ChildServer } from '#test/support/child-server.ts';
import { must } from '#test/support/http.ts';
import { PASSWORD, SdkClient } from '#test/support/sdk-client.ts';
import { type Frame, StreamClient } from '#test/ws/stream-client.ts';

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  describe(`a js-sdk client and a WebSocket client that chat, and a server that is ended by ${signal}`, function () {
    this.timeout(60_000);
    let server: ChildServer;
    let alice: SdkClient;
    let bob: StreamClient;
    let token: string;
    let roomId: string;
    let greeting: string;
    const bobsId = '@bob:localhost';

    const open = async (since?: string): Promise<StreamClient> => {
      const client = await StreamClient.open(server.url.replace('http', 'ws') + WEBSOCKET_PATH, {});
      await client.must('auth', { token, ...(since === undefined ? {} : { since }) });
      return client;
    };
    const say = (client: StreamClient, body: string): Promise<Frame> =>
      client.must('send', {
        room_id: roomId,
        event_type: 'm.room.message',
        txn_id: body,
        content: { msgtype: 'm.text', body },
      });
    /** An ephemeral event of the room that fits. */
    const ephemeral = (client: StreamClient, fits: (event: Frame) => boolean): Promise<Frame> =>
      client.until(() =>
        client.syncs
          .flatMap((frame) => frame.rooms?.join?.[roomId]?.ephemeral?.events ?? [])
          .findLast((event: Frame) => fits(event)),
      );
    const timeline = (client: StreamClient, fits: (event: Frame) => boolean): Promise<Frame> =>
      client.until(() => client.timeline(roomId).find((event) => fits(event)));

    before(async () => {
      server = await ChildServer.start({ database: 'shared' });
      alice = await (await SdkClient.register(server.url, 'alice')).start();
      const wish = { username: 'bob', password: PASSWORD, auth: { type: 'm.login.dummy' } };
      token = (await must(server.url, 'POST', '/register', { body: wish })).access_token;
      bob = await open();
    });
    after(async () => {
      alice?.stop();
      bob?.socket.terminate();
      await server?.dispose();
    });

    it('brings the invite over the socket, and the join to /sync', async () => {
      roomId = (await alice.client.createRoom({ name: '集い', preset: Preset.PrivateChat, invite: [bobsId] })).room_id;
      const invite = await bob.until(() =>
        bob.syncs.map((frame) => frame.rooms?.invite?.[roomId]).find((room) => room !== undefined),
      );
      expect(invite.invite_state.events.find((event: Frame) => event.type === 'm.room.name').content).to.deep.equal({
        name: '集い',
      });
      await bob.must('join', { room_id_or_alias: roomId });
      await alice.until('the member', () => alice.membership(roomId, bobsId) === 'join');
      await timeline(bob, (event) => event.state_key === bobsId && event.content.membership === 'join');
    });

    it('delivers Japanese text both ways', async () => {
      greeting = (await alice.client.sendTextMessage(roomId, 'こんにちは 👋')).event_id;
      expect((await bob.message(roomId, 'こんにちは 👋')).event_id).to.equal(greeting);
      const { event_id: answer } = await say(bob, 'どうも');
      await alice.sees(roomId, answer);
      expect(alice.texts(roomId)).to.deep.equal(['こんにちは 👋', 'どうも']);
      expect((await bob.message(roomId, 'どうも')).unsigned.transaction_id).to.equal('どうも');
    });

    it('delivers edits, reactions and redactions both ways', async () => {
      await alice.client.sendMessage(roomId, {
        msgtype: MsgType.Text,
        body: '* おはよう',
        'm.new_content': { msgtype: MsgType.Text, body: 'おはよう' },
        'm.relates_to': { rel_type: RelationType.Replace, event_id: greeting },
      });
      const edit = await timeline(bob, (event) => event.content['m.relates_to']?.rel_type === 'm.replace');
      expect(edit.content['m.new_content'].body).to.equal('おはよう');
      const relation = { rel_type: 'm.annotation', event_id: greeting, key: '👍' };
      const { event_id: reaction } = await bob.must('send', {
        room_id: roomId,
        event_type: 'm.reaction',
        txn_id: 'thumb',
        content: { 'm.relates_to': relation },
      });
      const reactions = (): number =>
        alice.client
          .getRoom(roomId)
          ?.relations.getChildEventsForEvent(greeting, RelationType.Annotation, EventType.Reaction)
          ?.getRelations().length ?? 0;
      await alice.until('the reaction', () => reactions() === 1);
      await bob.must('redact', { room_id: roomId, event_id: reaction, txn_id: 'no thumb' });
      await alice.until('no reaction', () => reactions() === 0);
      const { event_id: mistake } = await alice.client.sendTextMessage(roomId, '間違い');
      await bob.message(roomId, '間違い');
      await alice.client.redactEvent(roomId, mistake);
      const redaction = await timeline(
        bob,
        (event) => event.type === 'm.room.redaction' && event.sender === alice.userId,
      );
      expect(redaction.content.redacts).to.equal(mistake);
    });

    it('delivers receipts and typing both ways', async () => {
      await bob.must('receipt', { room_id: roomId, event_id: greeting, receipt_type: 'm.read' });
      await alice.until('the receipt', () => alice.client.getRoom(roomId)?.getEventReadUpTo(bobsId, true) === greeting);
      await alice.client.sendReadReceipt((await alice.room(roomId)).findEventById(greeting)!, ReceiptType.Read);
      await ephemeral(
        bob,
        (event) => event.type === 'm.receipt' && event.content[greeting]?.['m.read']?.[alice.userId] !== undefined,
      );

      const told: boolean[] = [];
      alice.client.on(RoomMemberEvent.Typing, (_event, member) => told.push(member.typing));
      await bob.must('typing', { room_id: roomId, typing: true, timeout: 20_000 });
      await alice.until('typing', () => told.length === 1);
      await bob.must('typing', { room_id: roomId, typing: false });
      await alice.until('not typing', () => told.length === 2);
      expect(told).to.deep.equal([true, false]);
      await alice.client.sendTyping(roomId, true, 20_000);
      await ephemeral(bob, (event) => event.type === 'm.typing' && event.content.user_ids.includes(alice.userId));
      await alice.client.sendTyping(roomId, false, 0);
      const stopped = await ephemeral(bob, (event) => event.type === 'm.typing' && event.content.user_ids.length === 0);
      expect(stopped).to.not.have.property('room_id');
    });

    it('lets both go on where they were when it is there again, with nothing lost and nothing twice', async () => {
      const since = bob.nextBatch;
      const earlier = bob.timeline(roomId).filter((event) => event.event_id !== undefined);
      const { length } = alice.syncs;
      // What the socket brings from here on counts as lost: the client only remembers `since`.
      await say(bob, '留守中');
      await alice.until('it', () => alice.texts(roomId).includes('留守中'));
      const closed = bob.closed;
      await server.restart(signal);
      expect((await closed).code).to.equal(signal === 'SIGTERM' ? 1001 : 1006);
      bob = await open(since);
      await alice.reconnect();
      await bob.message(roomId, '留守中');
      await say(bob, 'ただいま');
      await alice.until('it', () => alice.texts(roomId).includes('ただいま'));
      await alice.client.sendTextMessage(roomId, 'おかえり');
      await bob.message(roomId, 'おかえり');
      expect(bob.bodies(roomId)).to.deep.equal(['留守中', 'ただいま', 'おかえり']);
      expect(alice.texts(roomId).slice(1)).to.deep.equal(['どうも', '留守中', 'ただいま', 'おかえり']);
      for (const { since: from } of alice.syncs.slice(length)) expect(from).to.be.a('string');
      for (const frame of bob.syncs) expect(frame.rooms?.join?.[roomId]?.timeline?.limited ?? false).to.equal(false);
      const page = await must(server.url, 'GET', `/rooms/${encodeURIComponent(roomId)}/messages?dir=f&limit=500`, {
        token,
      });
      const all = page.chunk.map((event: Frame) => event.event_id);
      expect([...earlier, ...bob.timeline(roomId)].map((event) => event.event_id)).to.deep.equal(all);
      await alice.until('all of it', () => alice.received(roomId).length === all.length);
      expect(alice.received(roomId)).to.deep.equal(all);
    });

    it('closes the socket of a session that ends', async () => {
      await must(server.url, 'POST', '/logout', { token, body: {} });
      expect((await bob.closed).code).to.equal(4002);
    });
  });
}
