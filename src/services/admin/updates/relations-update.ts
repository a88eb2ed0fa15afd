import { placeRelations } from '#src/storage/admin/background-updates.ts';
import type { Database } from '#src/storage/database.ts';
import type { BackgroundUpdate } from './update.ts';

/** Indexes relations by their places in the room. A migration begins it; until it is done, what relates to an event is sorted for each page. */
export const relationsUpdate = ({ database }: { readonly database: Database }): BackgroundUpdate => ({
  name: 'index_relations',
  async step() {
    await placeRelations(database);
    return { items: 1, after: undefined };
  },
});
