import { cleanMedia } from '#src/jobs/definitions.ts';
import type { Tx } from '#src/storage/database.ts';
import { type DeletableMedia, deleteMedia } from '#src/storage/media/media-deletion.ts';

/** Deletes media, and has their bytes be deleted as soon as that is committed. */
export const deleteWithBytes = async (tx: Tx, media: readonly DeletableMedia[]): Promise<void> => {
  if (media.length === 0) return;
  await deleteMedia(
    tx,
    media.map(({ nid }) => nid),
  );
  await tx.enqueue(cleanMedia, {});
};
