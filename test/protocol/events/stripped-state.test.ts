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
});
