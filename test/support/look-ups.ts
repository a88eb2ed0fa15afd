/** Replaces a method of all objects of a kind. @returns what puts the old one back */
const replace = (
  prototype: object,
  name: string,
  method: (this: never, ...values: never[]) => unknown,
): (() => void) => {
  const before: unknown = Reflect.get(prototype, name);
  Reflect.set(prototype, name, method);
  return () => void Reflect.set(prototype, name, before);
};

/** Counts what is asked of maps, sets and lists until its end: steps of a computation, whatever the machine takes for them. */
export class LookUps {
  /** In all. */
  all = 0;
  /** At most between two calls of `turn`. */
  most = 0;
  #now = 0;
  readonly #ends: readonly (() => void)[];

  constructor() {
    const { get } = Map.prototype;
    const { has } = Set.prototype;
    const { includes } = Array.prototype;
    const count = (looks: number): void => {
      this.all += looks;
      this.#now += looks;
      this.most = Math.max(this.most, this.#now);
    };
    this.#ends = [
      replace(Map.prototype, 'get', function (this: Map<unknown, unknown>, key: unknown): unknown {
        count(1);
        return get.call(this, key);
      }),
      replace(Set.prototype, 'has', function (this: Set<unknown>, value: unknown): boolean {
        count(1);
        return has.call(this, value);
      }),
      replace(Array.prototype, 'includes', function (this: unknown[], value: unknown, from?: number): boolean {
        count(this.length);
        return includes.call(this, value, from);
      }),
    ];
  }

  /** Says that another turn of the event loop begins. */
  turn(): void {
    this.#now = 0;
  }

  end(): void {
    for (const end of this.#ends) end();
  }
}
