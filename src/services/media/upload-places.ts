import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** Uploads that are under way at once, and those of one user: each may hold some megabytes on its way to an object store. */
export const UPLOADS_AT_ONCE = 24;
export const UPLOADS_OF_USER = 8;

interface Place {
  readonly giveUp: (error: MatrixError) => void;
}

/**
 * Places for uploads, which may take very long. When all are taken, users share them: one who has fewer takes the place of one who has at least
 * two more, whose newest upload is given up. So few users with slow uploads keep nobody else from uploading.
 */
export class UploadPlaces {
  /** By user, the newest last. */
  readonly #places = new Map<string, Place[]>();
  #taken = 0;

  /**
   * Takes a place.
   *
   * @param giveUp ends the upload, with the error for its client; its place is taken by another one then
   * @returns gives it back
   * @throws MatrixError M_LIMIT_EXCEEDED
   */
  begin(userId: string, giveUp: (error: MatrixError) => void): () => void {
    const own = this.#places.get(userId)?.length ?? 0;
    if (own >= UPLOADS_OF_USER || (this.#taken >= UPLOADS_AT_ONCE && !this.#takeFromOthers(own))) throw tooMany();
    const place = { giveUp };
    this.#places.set(userId, [...(this.#places.get(userId) ?? []), place]);
    this.#taken += 1;
    return () => this.#leave(userId, place);
  }

  /** @returns whether somebody had at least two more than `own` */
  #takeFromOthers(own: number): boolean {
    let [most, places] = ['', [] as readonly Place[]];
    for (const [userId, held] of this.#places) if (held.length > places.length) [most, places] = [userId, held];
    const newest = places.at(-1);
    if (newest === undefined || places.length < own + 2) return false;
    this.#leave(most, newest);
    newest.giveUp(tooMany());
    return true;
  }

  #leave(userId: string, place: Place): void {
    const places = this.#places.get(userId) ?? [];
    const left = places.filter((one) => one !== place);
    // It may have been taken away before its upload ended.
    this.#taken -= places.length - left.length;
    if (left.length === 0) this.#places.delete(userId);
    else this.#places.set(userId, left);
  }
}

const tooMany = (): MatrixError =>
  limitExceeded('uploads', 2_000, 'Too many uploads are under way: begin this one when others are done.');
