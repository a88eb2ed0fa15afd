/** Characters from which on a text is not copied any more, and those after which a piece of shorter ones ends. */
const LONG = 64 * 1024;

/** A text, or the pieces of a long one. */
export type Text = string | readonly string[];

/** A text that grows at its end. Of a long one the pieces are kept: what puts them together would copy all of it at once. */
export class TextPieces {
  readonly #pieces: string[] = [];
  #last = '';

  add(text: string): this {
    if (text.length >= LONG) {
      if (this.#last !== '') this.#pieces.push(this.#last);
      this.#last = '';
      this.#pieces.push(text);
    } else {
      this.#last += text;
      if (this.#last.length >= LONG) {
        this.#pieces.push(this.#last);
        this.#last = '';
      }
    }
    return this;
  }

  /** Adds texts with commas between them. */
  addList(texts: readonly string[]): this {
    for (let index = 0; index < texts.length; index++) {
      if (index > 0) this.add(',');
      this.add(texts[index] as string);
    }
    return this;
  }

  /** The text, in pieces where it is long. */
  end(): Text {
    if (this.#pieces.length === 0) return this.#last;
    return this.#last === '' ? this.#pieces : [...this.#pieces, this.#last];
  }

  /** All of the text as one, long or not. */
  whole(): string {
    return this.#pieces.join('') + this.#last;
  }
}
