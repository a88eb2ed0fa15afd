import type { PartialState } from './partial-state.ts';
import type { RoomStanding } from './room-stub.ts';

/** Whether the full state of a room is known, since when, and the requests that wait for it. */
export class StateCompleteness {
  readonly #standing: Pick<RoomStanding, 'partial' | 'fullSince'>;
  /** Made when a request waits for the full state. */
  #full: PromiseWithResolvers<void> | undefined;
  #servers: { readonly joined: readonly string[]; readonly all: readonly string[] } | undefined;

  /** @param standing where it is noted */
  constructor(standing: Pick<RoomStanding, 'partial' | 'fullSince'>) {
    this.#standing = standing;
  }

  /** The partial state; undefined for rooms whose full state is known. */
  get partial(): PartialState | undefined {
    return this.#standing.partial;
  }

  /** The position at which a partial state became complete; 0 for most rooms. */
  get fullSince(): number {
    return this.#standing.fullSince;
  }

  /** Resolves when the full state is known, or cannot be fetched any more. */
  whenFull(): Promise<void> {
    return (this.#full ??= Promise.withResolvers<void>()).promise;
  }

  /** The servers with joined members, and those of the partial state. The same array as long as `joined` is the same. */
  servers(joined: readonly string[]): readonly string[] {
    const { partial } = this.#standing;
    if (partial === undefined) return joined;
    if (this.#servers?.joined !== joined)
      this.#servers = { joined, all: [...new Set([...joined, ...partial.servers])] };
    return this.#servers.all;
  }

  /** Begins anew with the state of a join. */
  begin(partial: PartialState | undefined): void {
    this.#standing.partial = partial;
    this.#standing.fullSince = 0;
    this.#servers = undefined;
  }

  /** The state became complete. Requests that wait for it go on waiting until `endWaiting`. */
  complete(position: number): void {
    this.#standing.partial = undefined;
    this.#servers = undefined;
    this.#standing.fullSince = position;
  }

  /** The room was deleted. */
  clear(): void {
    this.#standing.partial = undefined;
    this.#servers = undefined;
  }

  /** Resumes requests that wait for the full state: it is here, or cannot be fetched any more. */
  endWaiting(): void {
    this.#full?.resolve();
    this.#full = undefined;
  }
}
