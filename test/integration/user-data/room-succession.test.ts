import { expect } from 'chai';
import { World } from './world.ts';

const ALICE = '@alice:test';
const BOB = '@bob:test';
const CAROL = '@carol:test';

describe('the successor of an upgraded room', () => {
  it('gets the push rules of all users of this server at once, and their tags and direct chats when they join', async () => {
    const world = await World.begin();
    try {
      const { accountData, events, tags, pushRules } = world.services;
      const old = await world.room(ALICE, [BOB]);
      await pushRules.put(BOB, 'room', old.roomId, { actions: [] }, {});
      await tags.set(BOB, old.nid, 'm.favourite', { order: 0.5 });
      await tags.set(CAROL, old.nid, 'u.never', {});
      await accountData.set(BOB, 0, 'm.direct', { [ALICE]: [old.roomId], [CAROL]: ['!other:test'], odd: 7 });
      await accountData.set(CAROL, 0, 'm.direct', { [ALICE]: [old.roomId] });
      const successor = await world.room(ALICE, [], [], { predecessor: { room_id: old.roomId, event_id: '$x' } });
      await events.send(old, {
        type: 'm.room.tombstone',
        sender: ALICE,
        stateKey: '',
        content: { replacement_room: successor.roomId, body: 'moved' },
      });
      await world.app.idle();
      expect((await pushRules.rulesetOf(BOB)).room.map((rule) => rule.rule_id)).to.have.members([
        old.roomId,
        successor.roomId,
      ]);
      expect(await tags.of(BOB, successor.nid)).to.deep.equal({});
      await world.join(successor, BOB);
      await world.join(successor, CAROL);
      await world.app.idle();
      expect(await tags.of(BOB, successor.nid)).to.deep.equal({ 'm.favourite': { order: 0.5 } });
      expect(await tags.of(CAROL, successor.nid)).to.deep.equal({});
      const direct = async (userId: string): Promise<unknown> =>
        JSON.parse((await accountData.get(userId, 0, 'm.direct')) ?? '{}');
      expect(await direct(BOB)).to.deep.equal({
        [ALICE]: [old.roomId, successor.roomId],
        [CAROL]: ['!other:test'],
        odd: 7,
      });
      expect(await direct(CAROL)).to.deep.equal({ [ALICE]: [old.roomId] });
    } finally {
      await world.end();
    }
  });
});
