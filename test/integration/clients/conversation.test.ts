import { expect } from 'chai';
import {
  EventType,
  MatrixEventEvent,
  MsgType,
  Preset,
  ReceiptType,
  RelationType,
  RoomEvent,
  RoomMemberEvent,
} from 'matrix-js-sdk';
import { ChildServer } from '#test/support/child-server.ts';
import { must } from '#test/support/http.ts';
import { SdkClient } from '#test/support/sdk-client.ts';

/** The ids of a room's events, oldest first, as the server tells them by /messages. */
async function history(server: ChildServer, token: string, roomId: string): Promise<string[]> {
  const page = await must(server.url, 'GET', `/rooms/${encodeURIComponent(roomId)}/messages?dir=f&limit=500`, {
    token,
  });
  return page.chunk.map((event: { event_id: string }) => event.event_id);
}

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  describe(`two clients that chat, and a server that is ended by ${signal}`, function () {
    this.timeout(60_000);
    let server: ChildServer;
    let alice: SdkClient;
    let bob: SdkClient;
    let roomId: string;
    let greeting: string;

    before(async () => {
      server = await ChildServer.start({ database: signal === 'SIGKILL' ? 'embedded' : 'shared' });
      alice = await (await SdkClient.register(server.url, 'alice')).start();
      bob = await (await SdkClient.register(server.url, 'bob')).start();
    });
    after(async () => {
      alice?.stop();
      bob?.stop();
      await server?.dispose();
    });

    it('lets one make a room and the other join by invite', async () => {
      roomId = (await alice.client.createRoom({ name: '集い', preset: Preset.PrivateChat, invite: [bob.userId] }))
        .room_id;
      await bob.until('the invite', () => bob.membership(roomId) === 'invite');
      expect(bob.client.getRoom(roomId)?.name).to.equal('集い');
      await bob.client.joinRoom(roomId);
      await bob.until('the room', () => bob.membership(roomId) === 'join');
      await alice.until('the new member', () => alice.membership(roomId, bob.userId) === 'join');
      expect((await alice.room(roomId)).name).to.equal('集い');
    });

    it('delivers Japanese text as it was written, both ways', async () => {
      const text = 'こんにちは、集いへようこそ！ 👨‍👩‍👧‍👦 ｶﾅ 髙﨑';
      greeting = (await alice.client.sendTextMessage(roomId, text)).event_id;
      await bob.sees(roomId, greeting);
      expect(bob.texts(roomId)).to.deep.equal([text]);
      const answer = (await bob.client.sendTextMessage(roomId, 'どうも')).event_id;
      await alice.sees(roomId, answer);
      expect(alice.texts(roomId)).to.deep.equal([text, 'どうも']);
    });

    it('shows an edit in place of what was said', async () => {
      await alice.client.sendMessage(roomId, {
        msgtype: MsgType.Text,
        body: '* おはよう',
        'm.new_content': { msgtype: MsgType.Text, body: 'おはよう' },
        'm.relates_to': { rel_type: RelationType.Replace, event_id: greeting },
      });
      for (const reader of [alice, bob]) await reader.until('the edit', () => reader.texts(roomId)[0] === 'おはよう');
    });

    it('shows a reaction, and that it was taken back', async () => {
      const { event_id: reaction } = await bob.client.sendEvent(roomId, EventType.Reaction, {
        'm.relates_to': { rel_type: RelationType.Annotation, event_id: greeting, key: '👍' },
      });
      const reactions = (reader: SdkClient): string[] =>
        (
          reader.client
            .getRoom(roomId)
            ?.relations.getChildEventsForEvent(greeting, RelationType.Annotation, EventType.Reaction)
            ?.getSortedAnnotationsByKey() ?? []
        )
          .filter(([, events]) => events.size > 0)
          .map(([key, events]) => `${key} ${events.size}`);
      await alice.until('the reaction', () => reactions(alice).join(',') === '👍 1');
      await bob.client.redactEvent(roomId, reaction);
      await alice.until('no reaction', () => reactions(alice).length === 0);
    });

    it('empties a redacted message for everybody, and says who redacted it', async () => {
      const { event_id: mistake } = await alice.client.sendTextMessage(roomId, '間違い');
      await bob.sees(roomId, mistake);
      const redacted = new Promise((resolve) =>
        bob.client.getRoom(roomId)!.findEventById(mistake)!.once(MatrixEventEvent.BeforeRedaction, resolve),
      );
      await alice.client.redactEvent(roomId, mistake, undefined, { reason: '誤字' });
      await redacted;
      expect(bob.texts(roomId)).to.deep.equal(['おはよう', 'どうも']);
      const event = await must(
        server.url,
        'GET',
        `/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(mistake)}`,
        { token: bob.login.access_token },
      );
      expect(event.content).to.deep.equal({});
      expect(event.unsigned.redacted_because).to.include({ sender: alice.userId, type: 'm.room.redaction' });
    });

    it('tells who has read how far', async () => {
      const last = (await bob.room(roomId))
        .getLiveTimeline()
        .getEvents()
        .findLast((event) => event.getType() === 'm.room.message')!;
      await bob.client.sendReadReceipt(last, ReceiptType.Read);
      await alice.until(
        'the receipt',
        () => alice.client.getRoom(roomId)?.getEventReadUpTo(bob.userId, true) === last.getId(),
      );
    });

    it('tells who is typing, and that they stopped', async () => {
      const typing = (): boolean => alice.client.getRoom(roomId)?.getMember(bob.userId)?.typing === true;
      const told: boolean[] = [];
      alice.client.on(RoomMemberEvent.Typing, (_event, member) => told.push(member.typing));
      await bob.client.sendTyping(roomId, true, 20_000);
      await alice.until('typing', typing);
      await bob.client.sendTyping(roomId, false, 0);
      await alice.until('not typing', () => !typing());
      expect(told).to.deep.equal([true, false]);
    });

    it('lets both go on where they were when it is there again: nothing is lost, nothing comes twice, nothing is synced anew', async () => {
      const tokensBefore = { alice: alice.client.store.getSyncToken(), bob: bob.client.store.getSyncToken() };
      // Somebody who closed the application, and one who only lost the connection.
      bob.stop();
      const [unseen, said] = [await alice.client.sendTextMessage(roomId, '留守中'), alice.syncs.length];
      await alice.sees(roomId, unseen.event_id);
      await server.restart(signal);
      const back = bob.reopened();
      try {
        await alice.reconnect();
        await back.start();
        await back.sees(roomId, unseen.event_id);
        expect(back.syncs[0]!.since).to.equal(tokensBefore.bob);
        expect(back.texts(roomId)).to.deep.equal(['おはよう', 'どうも', '留守中']);

        const { event_id: welcome } = await back.client.sendTextMessage(roomId, 'ただいま');
        await alice.sees(roomId, welcome);
        const { event_id: answer } = await alice.client.sendTextMessage(roomId, 'おかえり');
        await back.sees(roomId, answer);
        expect(alice.texts(roomId)).to.deep.equal(['おはよう', 'どうも', '留守中', 'ただいま', 'おかえり']);
        expect(back.texts(roomId)).to.deep.equal(alice.texts(roomId));

        expect(tokensBefore.alice).to.be.a('string');
        for (const { since } of alice.syncs.slice(said)) expect(since).to.be.a('string');
        for (const { since, body } of [...alice.syncs.slice(said), ...back.syncs]) {
          expect(since).to.be.a('string');
          expect(body.rooms?.join?.[roomId]?.timeline?.limited ?? false).to.equal(false);
        }
        const all = await history(server, alice.login.access_token, roomId);
        expect(alice.received(roomId)).to.deep.equal(all);
        expect([...bob.received(roomId), ...back.received(roomId)]).to.deep.equal(all);
      } finally {
        back.stop();
      }
    });

    it('still shows the whole conversation to somebody who logs in afresh', async () => {
      const phone = await (await SdkClient.logIn(server.url, 'bob')).start();
      try {
        expect(phone.texts(roomId)).to.deep.equal(['おはよう', 'どうも', '留守中', 'ただいま', 'おかえり']);
        const live: string[] = [];
        phone.client.on(RoomEvent.Timeline, (event) => live.push(event.getId()!));
        const { event_id: more } = await alice.client.sendTextMessage(roomId, 'またね');
        await phone.sees(roomId, more);
        expect(live.filter((id) => id === more)).to.have.length(1);
      } finally {
        phone.stop();
      }
    });
  });
}
