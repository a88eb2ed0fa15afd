import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import { ANNOTATION, annotationOf } from '#src/services/room-model/event/annotation.ts';
import { nameAnnotations, relationsAfter } from '#src/storage/admin/background-updates.ts';
import type { Database } from '#src/storage/database.ts';
import type { BackgroundUpdate } from './update.ts';

const EVENTS_AT_ONCE = 200;
/** Characters of events that are parsed in one turn of the event loop. */
const PARSED_IN_TURN = 65_536;

/**
 * Gives annotations from before there was a column for what they say their value in it. A migration begins it. Until it is done, `RelationRules`
 * reads those of a user that have none.
 */
export const annotationsUpdate = ({ database }: { readonly database: Database }): BackgroundUpdate => ({
  name: 'populate_annotations',
  async step(after) {
    const { annotations, items, last } = await relationsAfter(database, ANNOTATION, after, EVENTS_AT_ONCE);
    const turns = new LoopYield(PARSED_IN_TURN);
    const named: { readonly room: number; readonly nid: number; readonly annotation: number }[] = [];
    for (const { json, nid, room } of annotations) {
      const annotation = annotationOf(JSON.parse(json) as Pdu);
      if (annotation !== undefined) named.push({ room, nid, annotation });
      await turns.after(json.length);
    }
    await nameAnnotations(database, named);
    return { items, after: items < EVENTS_AT_ONCE ? undefined : last };
  },
});
