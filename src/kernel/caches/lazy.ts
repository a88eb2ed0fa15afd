/** A value that is expensive to create: it is created once, when it is first needed. After a failure it is tried again the next time. */
export class Lazy<T> {
  readonly #make: () => Promise<T>;
  #made: Promise<T> | undefined;

  constructor(make: () => Promise<T>) {
    this.#make = make;
  }

  /** The value, or undefined as long as it was not needed. */
  get made(): Promise<T> | undefined {
    return this.#made;
  }

  get(): Promise<T> {
    this.#made ??= this.#make().catch((error: unknown) => {
      this.#made = undefined;
      throw error;
    });
    return this.#made;
  }
}
