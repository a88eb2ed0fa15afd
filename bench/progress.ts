/** Reports progress on standard error: one changing line on a terminal, otherwise a line every few seconds. */
export class Progress {
  readonly #terminal = process.stderr.isTTY;
  #prefix = '';
  #lastAt = 0;
  #startedAt = performance.now();

  /** Begins a part; what is said after belongs to it. */
  begin(prefix: string): void {
    this.#prefix = prefix;
    this.#startedAt = performance.now();
    this.#lastAt = 0;
  }

  say(text: string): void {
    const now = performance.now();
    if (now - this.#lastAt < (this.#terminal ? 100 : 3_000)) return;
    this.#lastAt = now;
    const line = `${this.#prefix} ${((now - this.#startedAt) / 1000).toFixed(0)} s: ${text}`;
    process.stderr.write(
      this.#terminal ? `\r\u001B[K${line.slice(0, (process.stderr.columns || 80) - 1)}` : `${line}\n`,
    );
  }

  /** Clears the line before other output. */
  end(): void {
    if (this.#terminal) process.stderr.write('\r\u001B[K');
  }
}
