/**
 * Writes many at once; when that fails, halves of them, down to single ones: one that cannot be written does not prevent the others.
 *
 * @param isHopeless whether an error would be the same for each of them
 * @param onFailed told of each that could not be written
 */
export const writeAll = async <T>(
  items: readonly T[],
  write: (items: readonly T[]) => Promise<void>,
  isHopeless: (error: unknown) => boolean,
  onFailed: (items: readonly T[], error: unknown) => void,
): Promise<void> => {
  try {
    await write(items);
  } catch (error) {
    if (items.length <= 1 || isHopeless(error)) {
      onFailed(items, error);
      return;
    }
    const middle = Math.ceil(items.length / 2);
    await writeAll(items.slice(0, middle), write, isHopeless, onFailed);
    await writeAll(items.slice(middle), write, isHopeless, onFailed);
  }
};
