import { expect } from 'chai';
import { authEventKeysFor, checkAuthEventsSelection } from '#src/protocol/auth/auth-events.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { ALL_VERSIONS } from '../events/event-cases.ts';
import { ALICE, BOB, CAROL, CREATOR, Room } from './room.ts';
import type { Draft } from './room.ts';

for (const version of ALL_VERSIONS) {
  const number = Number(version.id);

  describe(`auth events in v${version.id}`, () => {
    const room = new Room(version, {
      members: { [ALICE]: 'join', [BOB]: 'invite' },
      joinRule: 'invite',
      power: {},
      more: [{ type: 'm.room.third_party_invite', sender: ALICE, stateKey: 'tok' }],
    });
    const keys = (draft: Draft): string[] =>
      authEventKeysFor(version, room.event(draft).pdu).map(([type, key]) => `${type.slice(7)}|${key}`);
    const base = number < 12 ? ['create|', 'power_levels|'] : ['power_levels|'];

    it('are none for m.room.create', () =>
      expect(keys({ type: 'm.room.create', sender: CREATOR, stateKey: '' })).to.deep.equal([]));
    it('are create (until v11), power levels and the sender for a message', () => {
      expect(keys({ type: 'm.room.message', sender: ALICE })).to.deep.equal([...base, `member|${ALICE}`]);
    });
    it('have the join rules for join, invite and knock, and the target', () => {
      const member = (membership: string, stateKey: string, content = {}): string[] =>
        keys({ type: 'm.room.member', sender: ALICE, stateKey, content: { membership, ...content } });
      expect(member('join', ALICE)).to.deep.equal([...base, `member|${ALICE}`, 'join_rules|']);
      expect(member('invite', BOB)).to.deep.equal([...base, `member|${ALICE}`, `member|${BOB}`, 'join_rules|']);
      expect(member('knock', ALICE)).to.deep.equal([...base, `member|${ALICE}`, 'join_rules|']);
      expect(member('leave', BOB)).to.deep.equal([...base, `member|${ALICE}`, `member|${BOB}`]);
      expect(member('ban', BOB)).to.deep.equal([...base, `member|${ALICE}`, `member|${BOB}`]);
      expect(member('invite', BOB, { third_party_invite: { signed: { token: 'tok' } } })).to.include(
        'third_party_invite|tok',
      );
      expect(member('leave', BOB, { third_party_invite: { signed: { token: 'tok' } } })).not.to.include(
        'third_party_invite|tok',
      );
      expect(member('join', ALICE, { join_authorised_via_users_server: CAROL }).includes(`member|${CAROL}`)).to.equal(
        number >= 8,
      );
      expect(
        member('join', ALICE, { join_authorised_via_users_server: ALICE }).filter((key) => key === `member|${ALICE}`),
      ).to.have.length(1);
    });

    const event = room.event({ type: 'm.room.message', sender: ALICE });
    const at = (type: string, key: string): IdentifiedPdu => room.state(type, key) as IdentifiedPdu;
    const power = at('m.room.power_levels', '');
    const alice = at('m.room.member', ALICE);
    const selection = number < 12 ? [room.create, power, alice] : [power, alice];
    const check = (authEvents: readonly IdentifiedPdu[]): boolean =>
      checkAuthEventsSelection(version, event, authEvents).ok;

    it('are accepted as selected', () => expect(check(selection)).to.equal(true));
    it('need m.room.create until v11 and refuse it since v12', () => {
      expect(check([power, alice])).to.equal(number >= 12);
      expect(check([room.create, power, alice])).to.equal(number < 12);
    });
    it('are refused with duplicates', () =>
      expect(check([...selection, { ...power, eventId: '$other' }])).to.equal(false));
    it('are refused with what does not belong there', () => {
      expect(check([...selection, at('m.room.member', BOB)])).to.equal(false);
      expect(check([...selection, at('m.room.join_rules', '')])).to.equal(false);
      expect(check([...selection, room.event({ type: 'm.room.message', sender: ALICE })])).to.equal(false);
    });
    it('are refused if one was rejected', () =>
      expect(check([...selection.slice(0, -1), { ...alice, rejected: true }])).to.equal(false));
    it('are refused from another room', () => {
      expect(check([...selection.slice(0, -1), { ...alice, pdu: { ...alice.pdu, room_id: '!other:a' } }])).to.equal(
        false,
      );
    });
  });
}
