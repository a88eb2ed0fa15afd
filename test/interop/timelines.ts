import { expect } from 'chai';
import { type Account, type Json, sameState } from './support/account.ts';
import { inBothDirections, type Rig } from './support/rig.ts';

const bodies = (events: readonly Json[]): string[] =>
  events.filter((event) => event.type === 'm.room.message').map((event) => event.content.body);

export function timelines(rig: () => Rig): void {
  inBothDirections((host, guest, title) => {
    describe(`the timeline of a room ${title}`, () => {
      const meet = async (version: string, content: object = {}): Promise<[Account, Account, string]> => {
        const alice = await rig()[host].user('alice');
        const bob = await rig()[guest].user('bob');
        const roomId = await alice.room(version, content);
        await bob.join(roomId, alice.serverName);
        await alice.sync();
        await bob.sync();
        return [alice, bob, roomId];
      };

      it('messages sent on both sides at once arrive once each, in each sender’s order', async () => {
        const [alice, bob, roomId] = await meet('11');
        const sent = await Promise.all(
          [alice, bob].map(async (account) => {
            const ids: string[] = [];
            for (let count = 0; count < 20; count++) ids.push(await account.say(roomId, `${account.userId} ${count}`));
            return ids;
          }),
        );
        for (const [reader, ids] of [
          [alice, sent[1]!],
          [bob, sent[0]!],
        ] as const) {
          for (const id of ids) await reader.sees(roomId, id);
          const seen = reader.rooms.get(roomId)!.timeline.map((event) => event.event_id);
          expect(seen.filter((id) => ids.includes(id))).to.deep.equal(ids);
        }
        await sameState(roomId, alice, bob);
      });

      it('history from before the join is fetched page by page to the room’s beginning, without holes', async () => {
        const alice = await rig()[host].user('alice');
        const bob = await rig()[guest].user('bob');
        const roomId = await alice.room('11');
        const texts = Array.from({ length: 70 }, (_, count) => `number ${count}`);
        for (const text of texts) await alice.say(roomId, text);
        await bob.join(roomId, alice.serverName);
        const history = await bob.history(roomId, 40);
        expect(bodies(history).reverse()).to.deep.equal(texts);
        expect(history.at(-1).type).to.equal('m.room.create');
        expect(history.map((event) => event.event_id)).to.deep.equal(
          (await alice.history(roomId, 100)).map((event) => event.event_id),
        );
      });

      it('history that is for members since their invitation or join stays hidden from those who come later', async () => {
        for (const visibility of ['joined', 'invited']) {
          const alice = await rig()[host].user('alice');
          const bob = await rig()[guest].user('bob');
          const roomId = await alice.room('11', {
            initial_state: [
              { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: visibility } },
            ],
          });
          await alice.say(roomId, 'secret');
          await bob.join(roomId, alice.serverName);
          await bob.sees(roomId, await alice.say(roomId, 'for all'));
          expect(bodies(await bob.history(roomId))).to.deep.equal(['for all']);
        }
      });

      for (const version of ['6', '10', '11', '12'])
        it(`room version ${version}: redactions by the author and by a moderator take the content away on both servers`, async () => {
          const [alice, bob, roomId] = await meet(version);
          const [first, second] = [await bob.say(roomId, 'a mistake'), await bob.say(roomId, 'an insult')];
          await alice.sees(roomId, second);
          const redact = async (account: Account, eventId: string): Promise<string> =>
            (
              await account.must(
                'PUT',
                `/rooms/${encodeURIComponent(roomId)}/redact/${encodeURIComponent(eventId)}/${Math.random()}`,
                { reason: 'so' },
              )
            ).event_id;
          const [own, moderated] = [await redact(bob, first), await redact(alice, second)];
          await alice.sees(roomId, own);
          await bob.sees(roomId, moderated);
          for (const reader of [alice, bob])
            for (const [eventId, redaction] of [
              [first, own],
              [second, moderated],
            ] as const) {
              const event = await reader.must(
                'GET',
                `/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(eventId)}`,
              );
              expect(event.content).to.deep.equal({});
              expect(event.unsigned.redacted_because.event_id).to.equal(redaction);
            }
        });

      it('edits, reactions and threads of both sides are aggregated', async () => {
        const [alice, bob, roomId] = await meet('11');
        const root = await alice.say(roomId, 'root');
        await bob.sees(roomId, root);
        const relate = (account: Account, type: string, relation: object, more: object): Promise<string> =>
          account.send(roomId, type, { ...more, 'm.relates_to': relation });
        const reply = await relate(
          bob,
          'm.room.message',
          { rel_type: 'm.thread', event_id: root },
          { msgtype: 'm.text', body: 'reply' },
        );
        const reaction = await relate(bob, 'm.reaction', { rel_type: 'm.annotation', event_id: root, key: '👍' }, {});
        const edit = await relate(
          alice,
          'm.room.message',
          { rel_type: 'm.replace', event_id: root },
          { msgtype: 'm.text', body: '* edited', 'm.new_content': { msgtype: 'm.text', body: 'edited' } },
        );
        await alice.sees(roomId, reaction);
        await bob.sees(roomId, edit);
        for (const reader of [alice, bob]) {
          const base = `/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/relations/${encodeURIComponent(root)}`;
          const { chunk } = await reader.must('GET', base);
          expect(chunk.map((event: Json) => event.event_id)).to.have.members([reply, reaction, edit]);
          const event = await reader.must(
            'GET',
            `/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(root)}`,
          );
          expect(event.unsigned['m.relations']['m.thread'].count).to.equal(1);
          expect(event.unsigned['m.relations']['m.replace'].event_id).to.equal(edit);
        }
      });

      for (const version of ['6', '10', '11', '12'])
        it(`room version ${version}: state that changed on both sides of a cut is resolved to the same on both`, async () => {
          const [alice, bob, roomId] = await meet(version);
          const carol = await rig()[guest].user('carol');
          await carol.join(roomId, alice.serverName);
          const levels = await alice.state(roomId, 'm.room.power_levels');
          await alice.setState(roomId, 'm.room.power_levels', {
            ...levels,
            users: { ...levels.users, [bob.userId]: 90 },
          });
          await bob.until(
            'its power',
            () => bob.rooms.get(roomId)?.state.get('m.room.power_levels|')?.content.users[bob.userId] === 90,
          );
          await sameState(roomId, alice, bob);

          rig().cut();
          await alice.setState(roomId, 'm.room.topic', { topic: 'of alice' });
          await alice.setState(roomId, 'm.room.name', { name: 'of alice' });
          await alice.act(roomId, 'ban', carol.userId);
          await bob.setState(roomId, 'm.room.topic', { topic: 'of bob' });
          await bob.setState(roomId, 'org.example.only', { by: 'bob' });
          await carol.must('PUT', `/profile/${encodeURIComponent(carol.userId)}/displayname`, {
            displayname: 'Carol, unaware',
          });
          await carol.say(roomId, 'am I heard?');
          const mine = await alice.say(roomId, 'while cut, of alice');
          const yours = await bob.say(roomId, 'while cut, of bob');

          rig().heal();
          // Whatever is sent now tells the other side of what it missed.
          await bob.sees(roomId, await alice.say(roomId, 'hello?'));
          await alice.sees(roomId, await bob.say(roomId, 'here'));
          const state = await sameState(roomId, alice, bob);
          expect(state.filter((line) => line.startsWith('org.example.only|'))).to.have.lengthOf(1);
          expect(await bob.membershipOf(roomId, carol.userId)).to.equal('ban');
          for (const reader of [alice, bob]) {
            const known = bodies(await reader.history(roomId));
            expect(known).to.include.members(['while cut, of alice', 'while cut, of bob']);
          }
          expect([mine, yours]).to.have.lengthOf(2);
        });
    });
  });
}
