import { createHash } from 'node:crypto';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import { relationOf } from './stored-event.ts';

/** The relation type of annotations. Client-Server API, "Event annotations and reactions". */
export const ANNOTATION = 'm.annotation';

const BYTES = 6;

/**
 * What an annotation says, as a number: by the same user, of the same event, with the same event type and key it is the same. Below 2^48, so
 * that others hardly ever have the same. Undefined for what is no annotation with a key.
 */
export const annotationOf = ({
  content,
  sender,
  type,
}: Pick<Pdu, 'content' | 'sender' | 'type'>): number | undefined => {
  const relation = relationOf(content);
  if (relation?.relType !== ANNOTATION || relation.key === undefined) return undefined;
  return createHash('sha256')
    .update([relation.eventId, sender, type, relation.key].join('\0'))
    .digest()
    .readUIntBE(0, BYTES);
};
