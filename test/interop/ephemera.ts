import { expect } from 'chai';
import { until } from '#test/support/until.ts';
import type { Account, Json } from './support/account.ts';
import { inBothDirections, type Rig } from './support/rig.ts';

export function ephemera(rig: () => Rig): void {
  inBothDirections((host, guest, title) => {
    describe(`what passes in a room ${title}`, () => {
      let alice: Account;
      let bob: Account;
      let roomId: string;

      before(async () => {
        alice = await rig()[host].user('alice');
        bob = await rig()[guest].user('bob');
        roomId = await alice.room('11');
        await bob.join(roomId, alice.serverName);
        await alice.until('the other one', () => alice.rooms.get(roomId)?.state.get(`m.room.member|${bob.userId}`));
        await bob.isIn(roomId, 'join');
      });
      const pairs = (): readonly (readonly [Account, Account])[] => [
        [alice, bob],
        [bob, alice],
      ];
      const path = (part: string): string => `/rooms/${encodeURIComponent(roomId)}/${part}`;

      it('typing begins and ends on the other server', async () => {
        for (const [typist, reader] of pairs()) {
          const typing = path(`typing/${encodeURIComponent(typist.userId)}`);
          await typist.must('PUT', typing, { typing: true, timeout: 30_000 });
          await reader.until('typing', () => reader.rooms.get(roomId)!.typing.includes(typist.userId));
          await typist.must('PUT', typing, { typing: false });
          await reader.until('no typing', () => !reader.rooms.get(roomId)!.typing.includes(typist.userId));
        }
      });

      it('receipts arrive, with their thread, and private ones do not', async () => {
        for (const [reader, author] of pairs()) {
          const root = await author.say(roomId, 'read this');
          const reply = await author.send(roomId, 'm.room.message', {
            msgtype: 'm.text',
            body: 'and this',
            'm.relates_to': { rel_type: 'm.thread', event_id: root },
          });
          await reader.sees(roomId, reply);
          const receipt = (eventId: string): Json =>
            author.rooms
              .get(roomId)!
              .receipts.map((content) => content[eventId]?.['m.read']?.[reader.userId])
              .find(Boolean);
          await reader.must('POST', path(`receipt/m.read.private/${encodeURIComponent(reply)}`), {});
          await reader.must('POST', path(`receipt/m.read/${encodeURIComponent(root)}`), { thread_id: 'main' });
          const main = await author.until('a receipt of the main timeline', () => receipt(root));
          expect(main).to.have.property('thread_id', 'main');
          expect(main.ts).to.be.a('number');
          await reader.must('POST', path(`receipt/m.read/${encodeURIComponent(reply)}`), { thread_id: root });
          const threaded = await author.until('a receipt of the thread', () => receipt(reply));
          expect(threaded).to.have.property('thread_id', root);
          for (const content of author.rooms.get(roomId)!.receipts)
            for (const byType of Object.values<Json>(content))
              expect(byType['m.read.private'] ?? {}).not.to.have.property(reader.userId);
        }
      });

      it('presence with its message is shown to those who share a room', async () => {
        for (const [user, reader] of pairs()) {
          const text = `busy, says ${user.userId}`;
          await user.must('PUT', `/presence/${encodeURIComponent(user.userId)}/status`, {
            presence: 'online',
            status_msg: text,
          });
          const event = await reader.until('the presence', () =>
            reader.presence.find(({ sender, content }) => sender === user.userId && content.status_msg === text),
          );
          expect(event.content.presence).to.equal('online');
        }
      });

      it('messages to a device arrive once at that device, also from outside of any common room', async () => {
        const stranger = await rig()[host].user('stranger');
        await bob.sync();
        for (const [sender, receiver] of [...pairs(), [stranger, bob] as const]) {
          const type = `org.example.${sender.userId.replaceAll(/\W/g, '')}`;
          for (let count = 0; count < 3; count++)
            await sender.must('PUT', `/sendToDevice/${type}/t${count}`, {
              messages: { [receiver.userId]: { [count === 1 ? '*' : receiver.deviceId]: { count } } },
            });
          const arrived = (): Json[] => receiver.toDevice.filter((event) => event.type === type);
          await receiver.until('three messages', () => arrived().length >= 3);
          expect(arrived().map(({ content }) => content.count)).to.deep.equal([0, 1, 2]);
          expect(new Set(arrived().map((event) => event.sender))).to.deep.equal(new Set([sender.userId]));
        }
      });

      let names = 0;
      it('profiles are looked up, and their changes come into the room', async () => {
        for (const [user, reader] of pairs()) {
          // Another one each time: what is there already is not told again.
          const name = `Name ${(names += 1)} of ${user.userId}`;
          const profile = `/profile/${encodeURIComponent(user.userId)}`;
          await user.must('PUT', `${profile}/displayname`, { displayname: name });
          const shown = (): Json => reader.rooms.get(roomId)!.state.get(`m.room.member|${user.userId}`);
          await reader.until(
            () => `the name ${name}, not ${JSON.stringify(shown())}`,
            () => shown()?.content.displayname === name,
          );
          // One after the other: Synapse breaks off what it does in rooms for the first when the second comes, and then may refuse its own event.
          await user.must('PUT', `${profile}/avatar_url`, { avatar_url: `mxc://${user.serverName}/abc` });
          await until('the profile is up to date', async () => {
            const { status, body } = await reader.ask('GET', profile);
            return status === 200 && body.displayname === name && body.avatar_url === `mxc://${user.serverName}/abc`;
          });
          const missing = await reader.ask(
            'GET',
            `/profile/${encodeURIComponent(`@nobody-at-all:${user.serverName}`)}`,
          );
          expect([missing.status, missing.body.errcode]).to.deep.equal([404, 'M_NOT_FOUND']);
        }
      });
    });
  });
}
