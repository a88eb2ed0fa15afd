import { expect } from 'chai';
import { until } from '#test/support/until.ts';
import { type Json, sameState } from './support/account.ts';
import { inBothDirections, NAMES, type Rig } from './support/rig.ts';

export function operations(rig: () => Rig): void {
  inBothDirections((host, guest, title) => {
    describe(`a room ${title}`, function () {
      this.timeout(120_000);

      it(`catches up after ${NAMES[guest]} was down: events, state, messages to devices`, async () => {
        const alice = await rig()[host].user('alice');
        const bob = await rig()[guest].user('bob');
        const roomId = await alice.room('11');
        await bob.join(roomId, alice.serverName);
        await bob.sees(roomId, await alice.say(roomId, 'before'));
        await rig()[guest].kill();
        const sent: string[] = [];
        for (let count = 0; count < 30; count++) sent.push(await alice.say(roomId, `meanwhile ${count}`));
        await alice.setState(roomId, 'm.room.topic', { topic: 'meanwhile' });
        for (let count = 0; count < 3; count++)
          await alice.must('PUT', `/sendToDevice/org.example.meanwhile/m${count}`, {
            messages: { [bob.userId]: { '*': { count } } },
          });
        await rig()[guest].launch();
        // A server that starts again sends something sooner or later; that is what the other server notices.
        const answer = await bob.say(roomId, 'back');
        await alice.sees(roomId, answer);
        for (const id of sent.slice(-5)) await bob.sees(roomId, id);
        await bob.until('the messages to the device', () => bob.toDevice.length >= 3);
        expect(bob.toDevice.map(({ content }) => content.count)).to.deep.equal([0, 1, 2]);
        await sameState(roomId, alice, bob);
        const history = (await bob.history(roomId)).map((event) => event.event_id);
        expect(history).to.include.members(sent);
      });
    });
  });

  describe('a partial-state join', () => {
    it('from Synapse into a room of Tsudoi: usable at once, and complete in the end', async () => {
      const alice = await rig().ours.user('alice');
      const roomId = await alice.room('11');
      const members = await Promise.all(Array.from({ length: 15 }, (_, count) => rig().ours.user(`member-${count}`)));
      for (const member of members) await member.join(roomId);
      const bob = await rig().theirs.user('bob');
      await bob.join(roomId, alice.serverName);
      await bob.sees(roomId, await alice.say(roomId, 'welcome'));
      await alice.sees(roomId, await bob.say(roomId, 'thanks'));
      await until('all members are known', async () => {
        const { status, body } = await bob.ask('GET', `/rooms/${encodeURIComponent(roomId)}/joined_members`);
        return status === 200 && Object.keys(body.joined as Json).length === members.length + 2;
      });
      await sameState(roomId, alice, bob);
      // It says so when it has fetched what it lacked.
      expect(rig().theirs.log()).to.include(`Clearing partial-state flag for ${roomId}`);
    });

    it('from Tsudoi into a room of Synapse: usable at once, and complete in the end', async () => {
      const alice = await rig().theirs.user('alice');
      const roomId = await alice.room('11');
      const members = await Promise.all(Array.from({ length: 15 }, (_, count) => rig().theirs.user(`member-${count}`)));
      for (const member of members) await member.join(roomId);
      const bob = await rig().ours.user('bob');
      await bob.join(roomId, alice.serverName);
      await bob.sees(roomId, await alice.say(roomId, 'welcome'));
      await alice.sees(roomId, await bob.say(roomId, 'thanks'));
      await until('all members are known', async () => {
        const { status, body } = await bob.ask('GET', `/rooms/${encodeURIComponent(roomId)}/joined_members`);
        return status === 200 && Object.keys(body.joined as Json).length === members.length + 2;
      });
      await sameState(roomId, alice, bob);
      const asked = rig()
        .theirs.log()
        .split('\n')
        .filter((line) => line.includes(encodeURIComponent(roomId)));
      expect(asked.filter((line) => /send_join.*omit_members=true/.test(line))).not.to.deep.equal([]);
      // What the answer left out is asked for afterwards.
      expect(asked.filter((line) => /GET \/_matrix\/federation\/v1\/state(_ids)?\//.test(line))).not.to.deep.equal([]);
    });
  });

  describe('signing keys', function () {
    this.timeout(120_000);

    inBothDirections((host, guest, title) => {
      it(`a key is replaced: old events stay good, new ones are accepted in a room ${title}`, async () => {
        const alice = await rig()[host].user('alice');
        const [bob, carol] = [await rig()[guest].user('bob'), await rig()[guest].user('carol')];
        const roomId = await alice.room('11');
        await bob.join(roomId, alice.serverName);
        await bob.sees(roomId, await alice.say(roomId, 'with the old key'));
        await rig()[host].rotateSigningKey();
        await bob.sees(roomId, await alice.say(roomId, 'with the new key'));
        await alice.sees(roomId, await bob.say(roomId, 'an answer'));
        // The state that comes with it is signed with both.
        const later = await alice.room('11', { name: 'later' });
        await carol.join(later, alice.serverName);
        await carol.leave(roomId).catch(() => undefined);
        await carol.join(roomId, alice.serverName);
        await sameState(roomId, alice, carol);
      });
    });
  });
}
