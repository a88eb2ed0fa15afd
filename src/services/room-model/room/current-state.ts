import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** A state event with the integer of its state key. */
export interface StateSlot {
  readonly skey: number;
  readonly event: StoredEvent;
}

/** The current state of a room but memberships, by `stateMapKey`, with the size of its events. */
export class CurrentState {
  readonly #slots: Map<string, StateSlot>;
  /** What `bytes` returns; undefined when it has to be counted. */
  #bytes: number | undefined;

  constructor(slots: Map<string, StateSlot>) {
    this.#slots = slots;
  }

  get slots(): ReadonlyMap<string, StateSlot> {
    return this.#slots;
  }

  event(type: string, stateKey = ''): StoredEvent | undefined {
    return this.#slots.get(stateMapKey(type, stateKey))?.event;
  }

  /** About how many bytes its events have together, as JSON. Goes through all of them the first time, and after a redaction. */
  bytes(): number {
    if (this.#bytes === undefined) {
      let bytes = 0;
      for (const { event } of this.#slots.values()) bytes += event.json.length;
      this.#bytes = bytes;
    }
    return this.#bytes;
  }

  /** @param slot undefined removes the entry */
  set(key: string, slot: StateSlot | undefined): void {
    const before = this.#slots.get(key);
    if (slot === undefined) this.#slots.delete(key);
    else this.#slots.set(key, slot);
    if (this.#bytes !== undefined) this.#bytes += (slot?.event.json.length ?? 0) - (before?.event.json.length ?? 0);
  }

  /** Replaces all of it. */
  replace(slots: ReadonlyMap<string, StateSlot>): void {
    this.#slots.clear();
    for (const [key, slot] of slots) this.#slots.set(key, slot);
    this.#bytes = undefined;
  }

  /** An event in it was redacted: its size has changed. */
  redacted(): void {
    this.#bytes = undefined;
  }
}
