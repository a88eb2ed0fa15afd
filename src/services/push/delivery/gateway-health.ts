/** Requests to one push gateway at once. */
export const MAX_AT_ONCE = 16;
/** While it cannot be reached. */
export const MAX_WHILE_AWAY = 1;
const REMEMBERED = 10_000;

/** Knows which push gateways cannot be reached. They get one request at a time, so that they do not hold up the pushers of other gateways. */
export class GatewayHealth {
  readonly #away = new Set<string>();

  get away(): number {
    return this.#away.size;
  }

  /** Most requests to a gateway at the same time. */
  maxAtOnce(gateway: string): number {
    return this.#away.has(gateway) ? MAX_WHILE_AWAY : MAX_AT_ONCE;
  }

  note(gateway: string, isReached: boolean): void {
    if (isReached) this.#away.delete(gateway);
    else if (this.#away.size < REMEMBERED) this.#away.add(gateway);
  }
}
