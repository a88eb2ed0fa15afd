import { silentLogger } from '#src/kernel/logger.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { MediaMove } from '#src/services/media/media-move.ts';
import type { Config } from './config/config.ts';
import { openPlatform } from './ground/platform.ts';
import { openServerFiles } from './ground/server-files.ts';
import { blobStoresOf } from './slices/media.ts';

/**
 * Moves media from files to the object store, on a server that is not running.
 *
 * @param onProgress is called with the number of files moved so far
 * @param stop stops it between two files
 * @returns a sentence about what was done
 * @throws when the server runs, no object store is configured, or one of the stores fails
 */
export async function moveMedia(
  config: Config,
  onProgress: (text: string) => void,
  stop: AbortSignal,
): Promise<string> {
  if (config.media.store !== 's3')
    throw new Error(
      'media.store is file: set it to s3, with endpoint, bucket and credentials, so that new files go there too.',
    );
  const platform = await openPlatform(config, silentLogger, stop);
  try {
    const { certificateAuthorities } = await openServerFiles(config, systemRandom);
    const { file, s3 } = blobStoresOf(config, { ...platform, certificateAuthorities });
    if (s3 === undefined) throw new Error('media.s3 is not configured.');
    try {
      const move = new MediaMove({
        database: platform.database,
        from: { place: 'file', store: file },
        to: { place: 's3', store: s3 },
      });
      const { moved, bytes, damaged, isDone } = await move.run(stop, (count) => onProgress(`${count} objects moved\n`));
      const sentences = [`${moved} objects (${bytes} bytes) were moved.`];
      if (damaged.length > 0)
        sentences.push(
          `${damaged.length} are missing or damaged and stay where they are: ${damaged.slice(0, 20).join(', ')}.`,
        );
      sentences.push(isDone ? 'None is left to be moved.' : 'Call it again for the rest.');
      return sentences.join(' ');
    } finally {
      await s3.close();
    }
  } finally {
    await platform.close();
  }
}
