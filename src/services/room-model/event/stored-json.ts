import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';

/** A PDU as it is stored: without `unsigned`, which is no part of the event. */
export const withoutUnsigned = (pdu: IdentifiedPdu['pdu']): IdentifiedPdu['pdu'] => {
  const { unsigned: _unsigned, ...rest } = pdu;
  return rest as IdentifiedPdu['pdu'];
};
