import { expect } from 'chai';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { createdRoomId } from '#src/protocol/events/pdu.ts';
import { receivedRoomState, verifiedRoomState } from '#src/services/federation/invites/invite-room-state.ts';

const version = roomVersion('12')!;
const roomId = createdRoomId('$create');

const event = (type: string, stateKey = ''): JsonObject => ({
  type,
  state_key: stateKey,
  sender: '@alice:p.test',
  content: {},
  room_id: roomId,
  signatures: {},
});
const create = event('m.room.create');
const name = event('m.room.name');
const others = (count: number): JsonObject[] =>
  Array.from({ length: count }, (_, index) => event('org.example.other', `${index}`));

/** Finds all events valid. */
const verifier: Parameters<typeof verifiedRoomState>[0] = {
  verify: (_, pdus) =>
    Promise.resolve(
      pdus.map((one) => {
        const pdu = one as JsonObject;
        const eventId = pdu['type'] === 'm.room.create' ? '$create' : '$other';
        return { ok: true, event: { eventId, pdu } } as never;
      }),
    ),
};

describe('invite_room_state of another server', () => {
  for (const before of [0, 25, 150])
    it(`is shown when m.room.create and the name come after ${before} other events`, async () => {
      const told = { version, roomId, state: [...others(before), name, create], showsDoubtful: false };
      const { fault, shown } = await verifiedRoomState(verifier, told);
      expect(fault).to.equal(undefined);
      expect(shown.slice(0, 2)).to.deep.equal([create, name]);
      const types = receivedRoomState([...others(before), name, create], version).map(({ type }) => type);
      expect(types.slice(0, 2)).to.deep.equal(['m.room.create', 'm.room.name']);
      expect(types).to.have.length(Math.min(before + 2, 100));
    });
  it('is refused without m.room.create', async () => {
    const told = { version, roomId, state: [name, ...others(3)], showsDoubtful: false };
    expect((await verifiedRoomState(verifier, told)).fault).to.equal('has no m.room.create');
  });
});
