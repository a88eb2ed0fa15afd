import { expect } from 'chai';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import { strippedState } from '#src/protocol/events/stripped-state.ts';
import { rules, wirePdu } from './event-cases.ts';

describe('strippedState', () => {
  it('leaves sender, type, state_key and content', () => {
    const pdu = wirePdu(rules(12), {
      type: 'm.room.name',
      state_key: '',
      content: { name: 'x' },
      unsigned: { age: 1 },
    }) as Pdu;
    expect(strippedState(pdu)).to.deep.equal({
      type: 'm.room.name',
      state_key: '',
      sender: '@u:domain',
      content: { name: 'x' },
    });
  });

  it('leaves the time of m.room.create where the id of the room is its hash, and nowhere else', () => {
    const keysIn = (version: number, type: string): string[] => {
      const pdu = wirePdu(rules(version), { type, state_key: '', content: {} }) as Pdu;
      return Object.keys(strippedState(pdu, rules(version))).sort();
    };
    const usual = ['content', 'sender', 'state_key', 'type'];
    expect(keysIn(12, 'm.room.create')).to.deep.equal(['content', 'origin_server_ts', 'sender', 'state_key', 'type']);
    expect(keysIn(11, 'm.room.create')).to.deep.equal(usual);
    expect(keysIn(12, 'm.room.name')).to.deep.equal(usual);
  });
});
