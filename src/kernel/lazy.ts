/** Something that takes a while to make: it is made once, when it is first needed. What could not be made is made anew the next time. */
export class Lazy<T> {
  readonly #make: () => Promise<T>;
  #made: Promise<T> | undefined;

  constructor(make: () => Promise<T>) {
    this.#make = make;
  }

  /** It, or undefined as long as nobody has needed it. */
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
