import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';

/** A PDU as it is stored: what its senders said beside it is no part of the event. */
export const withoutUnsigned = (pdu: IdentifiedPdu['pdu']): IdentifiedPdu['pdu'] => {
  const { unsigned: _unsigned, ...rest } = pdu;
  return rest as IdentifiedPdu['pdu'];
};
