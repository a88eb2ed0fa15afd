import { packChain, packEntries } from '#src/protocol/wire/packed-state.ts';
import type { StateChain } from './state-chain.ts';
import type { StateDeltaRow } from '#src/storage/events/event-rows.ts';

/** The row that a state adds to those of its chain. */
export const deltaRowOf = (room: number, chain: StateChain): StateDeltaRow => {
  const { deltas } = chain;
  const delta = deltas.at(-1);
  if (delta === undefined) throw new Error('the empty state has no row');
  return {
    nid: delta.nid,
    room,
    seq: delta.seq,
    chain: bufferOf(
      packChain(
        delta.nid,
        deltas.slice(0, -1).map((earlier) => earlier.nid),
      ),
    ),
    others: bufferOf(packEntries(delta.nid, delta.others)),
    members: bufferOf(packEntries(delta.nid, delta.members)),
  };
};

const bufferOf = ({ buffer, byteOffset, byteLength }: Uint8Array<ArrayBuffer>): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);
