import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { MemberTable } from './member-table.ts';
import type { PartialState } from './partial-state.ts';
import type { RoomStanding } from './room-stub.ts';

/** Whether the full state of a room is known, since when, who may be in the room as long as it is not, and the requests that wait for it. */
export class StateCompleteness {
  readonly #standing: Pick<RoomStanding, 'partial' | 'fullSince'>;
  readonly #members: MemberTable;
  /** Made when a request waits for the full state. */
  #full: PromiseWithResolvers<void> | undefined;
  #servers: { readonly joined: readonly string[]; readonly all: readonly string[] } | undefined;

  /** @param standing where it is noted */
  constructor(standing: Pick<RoomStanding, 'partial' | 'fullSince'>, members: MemberTable) {
    this.#standing = standing;
    this.#members = members;
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

  /** The servers other than this one with joined members, and those of the partial state. The same array as long as none comes or goes. */
  get servers(): readonly string[] {
    const { partial } = this.#standing;
    const joined = this.#members.servers.remote;
    if (partial === undefined) return joined;
    if (this.#servers?.joined !== joined)
      this.#servers = { joined, all: [...new Set([...joined, ...partial.servers])] };
    return this.#servers.all;
  }

  /** Whether a server takes part: by a joined member, or by the partial state. */
  hasServer(serverName: string): boolean {
    return this.#members.servers.counts.has(serverName) || this.partial?.servers.has(serverName) === true;
  }

  /** How many members are joined, at least: each server in the room has one. */
  get leastJoined(): number {
    const { partial } = this;
    const { joined } = this.#members;
    if (partial === undefined) return joined;
    const known = this.#members.servers.counts;
    return joined + [...partial.servers].filter((server) => !known.has(server)).length;
  }

  /** Whether a user's membership is known. */
  knows(userId: string): boolean {
    return this.partial === undefined || (this.#members.get(userId)?.event ?? 0) !== 0;
  }

  /** Whether a user is joined, or may be by a partial state. */
  mayBeJoined(userId: string): boolean {
    if (this.#members.get(userId)?.membership === 'join') return true;
    return !this.knows(userId) && this.partial?.servers.has(domainOf(userId) ?? '') === true;
  }

  /** Begins anew with the state of a join. */
  begin(partial: PartialState | undefined): void {
    this.#standing.partial = partial;
    this.#standing.fullSince = 0;
    this.#servers = undefined;
  }

  /** The state became complete. Requests that wait for it still wait until `endWaiting`. */
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
