import { expect } from 'chai';
import { requiredSignatures } from '#src/protocol/auth/required-signatures.ts';
import { ALL_VERSIONS } from '../events/event-cases.ts';
import { ALICE, BOB, CAROL, Room } from './room.ts';
import type { Draft } from './room.ts';

describe('required signatures', () => {
  for (const version of ALL_VERSIONS) {
    const number = Number(version.id);

    it(`are those of the sender and of who vouches, in v${version.id}`, () => {
      const room = new Room(version);
      const needs = (draft: Draft): readonly string[] => {
        const { eventId, pdu } = room.event(draft);
        return [...requiredSignatures(version, pdu, eventId)];
      };
      expect(needs({ type: 'x', sender: BOB, eventId: '$e:b' })).to.deep.equal(['b']);
      expect(needs({ type: 'x', sender: BOB, eventId: '$e:z' })).to.deep.equal(number <= 2 ? ['b', 'z'] : ['b']);
      expect(
        needs({
          type: 'm.room.member',
          sender: BOB,
          stateKey: CAROL,
          eventId: '$e:z',
          content: { membership: 'invite', third_party_invite: { signed: {} } },
        }),
      ).to.deep.equal(number <= 2 ? ['z'] : []);
      // What is no invitation by address is signed by who sends it.
      expect(
        needs({
          type: 'm.room.member',
          sender: BOB,
          stateKey: CAROL,
          eventId: '$e:b',
          content: { membership: 'invite', third_party_invite: {} },
        }),
      ).to.deep.equal(['b']);
      expect(
        needs({
          type: 'm.room.member',
          sender: BOB,
          stateKey: BOB,
          eventId: '$e:b',
          content: { membership: 'join', join_authorised_via_users_server: ALICE },
        }),
      ).to.deep.equal(number >= 8 ? ['b', 'a'] : ['b']);
    });
  }
});
