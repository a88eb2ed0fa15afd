import { parentPort } from 'node:worker_threads';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { resolveLargeState } from '#src/protocol/state/packed/resolve-large-state.ts';
import type { StateMap } from '#src/protocol/state/state-map.ts';
import type { FromWorker, ResolutionTask, ToWorker } from './resolution-messages.ts';

/** The worker thread in which large states are resolved: one resolution at a time, which is begun again until all that it asks for is here. */
class ResolutionRun {
  readonly #task: ResolutionTask;
  readonly #states: readonly StateMap<number>[];
  readonly #edges = new Map<number, readonly number[]>();
  readonly #events = new Map<number, IdentifiedPdu>();
  readonly #asked = new Set<number>();

  constructor(task: ResolutionTask) {
    this.#task = task;
    this.#states = task.states.map((events) => {
      const state = new Map<string, number>();
      for (const [index, key] of task.keys.entries()) {
        const nid = events[index] ?? 0;
        if (nid !== 0) state.set(key, nid);
      }
      return state;
    });
    const { nids, offsets, edges } = task.edges;
    nids.forEach((nid, index) => this.#edges.set(nid, Array.from(edges.subarray(offsets[index], offsets[index + 1]))));
  }

  take(message: ToWorker & { readonly kind: 'events' }): void {
    for (const { nid, eventId, rejected, json } of message.events) {
      this.#events.set(nid, { eventId, rejected, pdu: JSON.parse(json) as Pdu });
    }
  }

  run(): FromWorker {
    const version = roomVersion(this.#task.roomVersion);
    if (version === undefined) return { kind: 'failed', reason: `there is no room version ${this.#task.roomVersion}` };
    const missing = new Set<number>();
    const resolved = resolveLargeState(version, this.#states, {
      create: this.#task.create,
      event: (nid) => {
        const event = this.#events.get(nid);
        if (event === undefined && !this.#asked.has(nid)) missing.add(nid);
        return event;
      },
      authEvents: (nid) => this.#edges.get(nid) ?? [],
    });
    if (missing.size === 0) {
      return { kind: 'resolved', keys: [...resolved.keys()], events: Float64Array.from(resolved.values()) };
    }
    // What is not there when it was asked for once is not there at all.
    for (const nid of missing) this.#asked.add(nid);
    return { kind: 'missing', nids: [...missing] };
  }
}

let current: ResolutionRun | undefined;

parentPort?.on('message', (message: ToWorker) => {
  let answer: FromWorker | undefined;
  try {
    if (message.kind === 'begin') current = new ResolutionRun(message.task);
    else if (message.kind === 'events') current?.take(message);
    else answer = current?.run() ?? { kind: 'failed', reason: 'nothing was begun' };
  } catch (error) {
    answer = { kind: 'failed', reason: (error as Error).stack ?? String(error) };
  }
  if (answer === undefined) return;
  if (answer.kind !== 'missing') current = undefined;
  parentPort?.postMessage(answer);
});
