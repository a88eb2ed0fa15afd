/** Pieces that a body may come in, and one more for each of so many bytes. */
export const FREE_PIECES = 256;
export const BYTES_PER_PIECE = 64;

/** Whether these bytes came in more pieces than any sender needs: each costs as much as a small request. Those who stream send kilobytes at a time. */
export const areTooManyPieces = (pieces: number, bytes: number): boolean =>
  pieces > FREE_PIECES + bytes / BYTES_PER_PIECE;
