import { expect } from 'chai';
import { ALL_VERSIONS } from '../events/event-cases.ts';
import { ALICE, BOB, CAROL, CREATOR, Room } from './room.ts';
import type { RoomDraft } from './room.ts';

/** Alice is a moderator (50), Bob has nothing, and so have strangers. Creators are at 100, or above all since v12. */
function power(version: number): NonNullable<RoomDraft['power']> {
  return { users: { ...(version < 12 ? { [CREATOR]: 100 } : {}), [ALICE]: 50 } };
}

for (const version of ALL_VERSIONS) {
  const number = Number(version.id);
  const room = (draft: RoomDraft = {}): Room => new Room(version, { power: power(number), ...draft });

  describe(`membership in v${version.id}`, () => {
    describe('join', () => {
      it('lets the creator in right after m.room.create, and nobody else', () => {
        const empty = new Room(version, { members: { [CREATOR]: 'leave' } });
        expect(empty.member(CREATOR, CREATOR, 'join', {}, ['$create:a'])).to.equal(true);
        expect(empty.member(BOB, BOB, 'join', {}, ['$create:a'])).to.equal(false);
        expect(empty.member(CREATOR, CREATOR, 'join', {}, ['$create:a', '$other:a'])).to.equal(false);
        expect(empty.member(CREATOR, CREATOR, 'join', {}, ['$other:a'])).to.equal(false);
      });

      it('takes content.creator for the creator until v10 and the sender since v11', () => {
        const empty = new Room(version, { members: { [CREATOR]: 'leave' }, creation: { creator: BOB } });
        expect(empty.member(BOB, BOB, 'join', {}, ['$create:a'])).to.equal(number <= 10);
        expect(empty.member(CREATOR, CREATOR, 'join', {}, ['$create:a'])).to.equal(number >= 11);
      });

      it('does not let anyone join for another', () => {
        expect(room({ joinRule: 'public' }).member(ALICE, BOB, 'join')).to.equal(false);
      });

      // join rule -> since which version somebody who is invited or in may join, and somebody who is neither
      const rules: Readonly<Record<string, readonly [number, number]>> = {
        public: [1, 1],
        invite: [1, 99],
        knock: [7, 99],
        restricted: [8, 99],
        knock_restricted: [10, 99],
        private: [99, 99],
        nonsense: [99, 99],
      };
      for (const [joinRule, [invitedSince, strangerSince]] of Object.entries(rules)) {
        for (const membership of ['join', 'invite', 'leave', 'knock', 'ban']) {
          const isIn = membership === 'join' || membership === 'invite';
          const allowed = membership !== 'ban' && number >= (isIn ? invitedSince : strangerSince);
          it(`${allowed ? 'allows' : 'rejects'} a join after ${membership} where the rule is ${joinRule}`, () => {
            expect(room({ joinRule, members: { [BOB]: membership } }).member(BOB, BOB, 'join')).to.equal(allowed);
          });
        }
      }

      it('takes a room without join rules for one by invitation', () => {
        expect(room().member(BOB, BOB, 'join')).to.equal(false);
        expect(room({ members: { [BOB]: 'invite' } }).member(BOB, BOB, 'join')).to.equal(true);
      });

      for (const [joinRule, since] of [
        ['restricted', 8],
        ['knock_restricted', 10],
      ] as const) {
        const via = (user: string, draft: RoomDraft = {}): boolean =>
          room({ joinRule, members: { [ALICE]: 'join' }, ...draft }).member(BOB, BOB, 'join', {
            join_authorised_via_users_server: user,
          });

        it(`lets members with the invite level vouch for a ${joinRule} join`, () =>
          expect(via(ALICE)).to.equal(number >= since));
        it(`lets the creator vouch for a ${joinRule} join`, () => {
          expect(via(CREATOR, { power: { ...power(number), invite: 100 } })).to.equal(number >= since);
        });
        it(`lets nobody vouch for a ${joinRule} join who may not invite, is not in the room, or is no user id`, () => {
          expect(via(ALICE, { power: { ...power(number), invite: 51 } })).to.equal(false);
          expect(via(ALICE, { members: { [ALICE]: 'leave' } })).to.equal(false);
          expect(via(ALICE, { members: { [ALICE]: 'join', [BOB]: 'ban' } })).to.equal(false);
          expect(via(CAROL)).to.equal(false);
          expect(via('alice')).to.equal(false);
        });
      }

      it('rejects a join_authorised_via_users_server that is no user id since v8', () => {
        const joined = room({ joinRule: 'public', members: { [BOB]: 'join' } });
        expect(joined.member(BOB, BOB, 'join', { join_authorised_via_users_server: 5 })).to.equal(number < 8);
        expect(joined.member(BOB, BOB, 'leave', { join_authorised_via_users_server: 'x' })).to.equal(number < 8);
        expect(joined.member(BOB, BOB, 'join', { join_authorised_via_users_server: CAROL })).to.equal(true);
      });
    });

    describe('invite', () => {
      const inviting = (draft: RoomDraft = {}): Room => room({ members: { [ALICE]: 'join', [BOB]: 'join' }, ...draft });

      for (const [membership, allowed] of Object.entries({
        join: false,
        ban: false,
        leave: true,
        invite: true,
        knock: true,
      })) {
        it(`${allowed ? 'allows' : 'rejects'} inviting somebody whose membership is ${membership}`, () => {
          expect(
            inviting({ members: { [ALICE]: 'join', [CAROL]: membership } }).member(ALICE, CAROL, 'invite'),
          ).to.equal(allowed);
        });
      }

      it('wants the inviter in the room and at the invite level, which is 0 by default', () => {
        expect(inviting().member(BOB, CAROL, 'invite')).to.equal(true);
        expect(inviting().member('@stranger:a', CAROL, 'invite')).to.equal(false);
        const guarded = inviting({ power: { ...power(number), invite: 50 } });
        expect(guarded.member(BOB, CAROL, 'invite')).to.equal(false);
        expect(guarded.member(ALICE, CAROL, 'invite')).to.equal(true);
      });
    });

    describe('leave', () => {
      for (const [membership, since] of Object.entries({ join: 1, invite: 1, knock: 7, leave: 99, ban: 99 })) {
        it(`lets those leave whose membership is ${membership} since v${since}`, () => {
          expect(room({ members: { [BOB]: membership } }).member(BOB, BOB, 'leave')).to.equal(number >= since);
        });
      }

      const kicking = (draft: RoomDraft = {}): Room =>
        room({ members: { [ALICE]: 'join', [BOB]: 'join', [CAROL]: 'join' }, ...draft });
      it('lets members kick who have the kick level and stand above the target', () => {
        expect(kicking().member(ALICE, BOB, 'leave')).to.equal(true);
        expect(kicking().member(CREATOR, ALICE, 'leave')).to.equal(true);
        expect(kicking().member(BOB, CAROL, 'leave')).to.equal(false);
        expect(kicking().member(ALICE, CREATOR, 'leave')).to.equal(false);
        expect(kicking({ power: { ...power(number), kick: 51 } }).member(ALICE, BOB, 'leave')).to.equal(false);
        expect(kicking({ power: { ...power(number), users_default: 50 } }).member(ALICE, BOB, 'leave')).to.equal(false);
        expect(kicking({ members: { [ALICE]: 'leave', [BOB]: 'join' } }).member(ALICE, BOB, 'leave')).to.equal(false);
      });

      it('wants the ban level and the kick level for an unban', () => {
        const banned = (levels: object): Room =>
          room({ members: { [ALICE]: 'join', [BOB]: 'ban' }, power: { ...power(number), ...levels } });
        expect(banned({}).member(ALICE, BOB, 'leave')).to.equal(true);
        expect(banned({ ban: 51 }).member(ALICE, BOB, 'leave')).to.equal(false);
        expect(banned({ kick: 51 }).member(ALICE, BOB, 'leave')).to.equal(false);
      });
    });

    describe('ban', () => {
      const banning = (draft: RoomDraft = {}): Room => room({ members: { [ALICE]: 'join', [BOB]: 'join' }, ...draft });
      it('lets members ban who have the ban level and stand above the target, whatever the target is', () => {
        expect(banning().member(ALICE, BOB, 'ban')).to.equal(true);
        expect(banning().member(ALICE, CAROL, 'ban')).to.equal(true);
        expect(banning().member(BOB, CAROL, 'ban')).to.equal(false);
        expect(banning().member(ALICE, CREATOR, 'ban')).to.equal(false);
        expect(banning({ power: { ...power(number), ban: 51 } }).member(ALICE, BOB, 'ban')).to.equal(false);
        expect(banning({ power: { ...power(number), kick: 99 } }).member(ALICE, BOB, 'ban')).to.equal(true);
        expect(banning({ members: { [ALICE]: 'leave' } }).member(ALICE, BOB, 'ban')).to.equal(false);
      });
    });

    describe('knock', () => {
      for (const [joinRule, since] of Object.entries({
        knock: 7,
        knock_restricted: 10,
        invite: 99,
        public: 99,
        restricted: 99,
      })) {
        it(`lets strangers knock where the rule is ${joinRule} since v${since}`, () => {
          expect(room({ joinRule }).member(BOB, BOB, 'knock')).to.equal(number >= since);
        });
      }

      for (const [membership, allowed] of Object.entries({
        leave: true,
        knock: true,
        ban: false,
        invite: false,
        join: false,
      })) {
        it(`${allowed ? 'allows' : 'rejects'} a knock after ${membership}`, () => {
          expect(room({ joinRule: 'knock', members: { [BOB]: membership } }).member(BOB, BOB, 'knock')).to.equal(
            allowed && number >= 7,
          );
        });
      }

      it('does not let anyone knock for another', () => {
        expect(room({ joinRule: 'knock', members: { [ALICE]: 'join' } }).member(ALICE, BOB, 'knock')).to.equal(false);
      });
    });

    it('rejects memberships that are unknown, missing or no text, and members without a state key', () => {
      const joined = room({ joinRule: 'public', members: { [BOB]: 'join' } });
      expect(joined.member(BOB, BOB, 'maybe')).to.equal(false);
      for (const content of [{}, { membership: null }, { membership: 1 }]) {
        expect(joined.allows({ type: 'm.room.member', sender: BOB, stateKey: BOB, content })).to.equal(false);
      }
      expect(joined.allows({ type: 'm.room.member', sender: BOB, content: { membership: 'join' } })).to.equal(false);
    });

    it('keeps other servers out of a room that does not federate', () => {
      const closed = room({ joinRule: 'public', creation: { 'm.federate': false } });
      expect(closed.member(BOB, BOB, 'join')).to.equal(false);
      expect(closed.member(ALICE, ALICE, 'join')).to.equal(true);
      expect(room({ joinRule: 'public', creation: { 'm.federate': true } }).member(BOB, BOB, 'join')).to.equal(true);
    });
  });
}
