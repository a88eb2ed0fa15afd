import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { REL, type RelatedEvent } from './related-events.ts';

/**
 * The events that may replace this one, the most recent first: "determined by comparing origin_server_ts; if two or more replacement
 * events have identical origin_server_ts, the event with the lexicographically largest event_id is treated as more recent".
 * Client-Server API, "Validity of replacement events".
 */
export const editsOf = (original: StoredEvent, related: readonly RelatedEvent[]): readonly RelatedEvent[] => {
  // "If the original event is redacted, any m.replace relationship should not be bundled with it".
  if (original.redactedBecause !== undefined || original.stateKey !== undefined) return [];
  // "The original event must not, itself, have a rel_type of m.replace".
  if (original.relation?.relType === REL.replace) return [];
  return related
    .filter(
      ({ relType, sender, type, isState }) =>
        relType === REL.replace && sender === original.sender && type === original.type && !isState,
    )
    .toSorted((a, b) => b.ts - a.ts || (a.eventId < b.eventId ? 1 : -1));
};

/**
 * "The replacement event (once decrypted, if appropriate) must have an m.new_content property": what is encrypted cannot be looked
 * into here.
 */
export const isReplacement = ({ type, content }: Pick<StoredEvent, 'type' | 'content'>): boolean =>
  type === 'm.room.encrypted' || Object.hasOwn(content, 'm.new_content');
