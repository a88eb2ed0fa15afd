import type { PowerLevels } from '#src/protocol/auth/power-levels.ts';
import { isRedactable, redactionApplies } from '#src/protocol/auth/redactions.ts';
import { redact } from '#src/protocol/events/redaction.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { identified } from '#src/services/room-model/event/identified-event.ts';
import type { RedactionRow } from '#src/storage/events/event-rows.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** A redaction that is to be carried out: its row, and what makes it visible after the commit. */
export interface PreparedRedaction {
  readonly row: RedactionRow;
  /** The event that it names, as it is before. */
  readonly target: StoredEvent;
  readonly apply: () => void;
}

/** Prepares a redaction of the event that it names; undefined when it does not apply, or the event is redacted already. */
export const prepareRedaction = (
  room: Room,
  redaction: StoredEvent,
  target: StoredEvent | undefined,
  levels: PowerLevels | undefined,
): PreparedRedaction | undefined => {
  if (target === undefined || levels === undefined || target.redactedBecause !== undefined) return undefined;
  if (!redactionApplies(room.version, identified(redaction), identified(target), levels)) return undefined;
  if (!isRedactable(room.version, target.pdu)) return undefined;
  const json = canonicalJson(redact(room.version, target.pdu), 'lenient');
  return {
    row: { room: room.nid, nid: target.nid, redactedBy: redaction.nid, json },
    target,
    apply: () => {
      target.redact(json, redaction);
      room.redacted(target, json, redaction);
    },
  };
};
