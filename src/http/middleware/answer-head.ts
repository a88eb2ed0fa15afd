/** Headers of every answer. Answers are about this moment and mostly about this user; those that may be cached say so themselves. */
const EVERY_ANSWER = ['Cache-Control', 'no-store', 'X-Content-Type-Options', 'nosniff'] as const;

/**
 * The headers of an answer, which are written in one go: Node takes a list of names and values as it is, while headers that are set one by
 * one cost more than everything else about the head.
 */
export class AnswerHead {
  /** Names and values in turn. */
  readonly list: string[];

  constructor(...first: readonly string[]) {
    this.list = [...first, ...EVERY_ANSWER];
  }

  /** Adds a header that is not there yet. */
  add(name: string, value: string): void {
    this.list.push(name, value);
  }

  /** Adds a header, or gives it another value. */
  set(name: string, value: string): void {
    const { list } = this;
    for (let index = 0; index < list.length; index += 2) {
      const known = list[index];
      if (known !== name && (known?.length !== name.length || known.toLowerCase() !== name.toLowerCase())) continue;
      list[index + 1] = value;
      return;
    }
    list.push(name, value);
  }

  /** A copy of its present state, to which more can be added. */
  copy(): AnswerHead {
    const copy = new AnswerHead();
    copy.list.length = 0;
    copy.list.push(...this.list);
    return copy;
  }
}
