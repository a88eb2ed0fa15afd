/** Auth events by positions: those of `nids[i]` are `edges[offsets[i]]` up to before `edges[offsets[i + 1]]`. */
export interface PackedEdges {
  readonly nids: Float64Array;
  readonly offsets: Int32Array;
  readonly edges: Float64Array;
}

/** A resolution as it is handed to another thread. */
export interface ResolutionTask {
  readonly roomVersion: string;
  /** Position of the room's `m.room.create`. */
  readonly create: number;
  /** The entries of all states, by `stateMapKey`. */
  readonly keys: readonly string[];
  /** For each state the event of each entry; 0 for none. */
  readonly states: readonly Float64Array[];
  readonly edges: PackedEdges;
}

/** An event as it lies in the database. */
export interface TaskEvent {
  readonly nid: number;
  readonly eventId: string;
  readonly rejected: boolean;
  readonly json: string;
}

export type ToWorker =
  | { readonly kind: 'begin'; readonly task: ResolutionTask }
  | { readonly kind: 'events'; readonly events: readonly TaskEvent[] }
  /** Everything that was asked for has been sent. */
  | { readonly kind: 'run' };

export type FromWorker =
  | { readonly kind: 'missing'; readonly nids: readonly number[] }
  | { readonly kind: 'resolved'; readonly keys: readonly string[]; readonly events: Float64Array }
  | { readonly kind: 'failed'; readonly reason: string };
