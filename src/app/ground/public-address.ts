/** Where clients and other servers reach this one. */
export class PublicAddress {
  readonly #configured: string | undefined;
  #listening = '';

  /** @param configured `public_base_url`; null: wherever the server listens */
  constructor(configured: string | null) {
    this.#configured = configured?.replace(/\/+$/, '');
  }

  /** The URL of the first listener; empty before there is one. */
  get listening(): string {
    return this.#listening;
  }

  listensAt(url: string): void {
    this.#listening = url;
  }

  /** The published URL, without a slash at the end. */
  get url(): string {
    return this.#configured ?? this.#listening;
  }
}
