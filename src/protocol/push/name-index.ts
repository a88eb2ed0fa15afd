/**
 * Which of many names stand in a text, as words: for the rules that look for the names of a room's members in messages. What a message costs
 * grows with its length, not with the number of members.
 */

import { globMatchesWords, isWordUnit, literalGlob } from '#src/protocol/matching/glob.ts';
import type { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { foldCase, isOneWord, type PushSubject } from './push-event.ts';

/** UTF-16 code units of a name that is looked for. */
const MAX_NAME_LENGTH = 256;

/** Names by how they begin: with a word, or with one or two characters that belong to none. */
export class NameIndex {
  readonly #users = new Map<string, readonly string[]>();
  /** By the first word, whole: it stands as one in a text that has the name. */
  readonly #byWord = new Map<string, Map<string, Set<string>>>();
  /** By the first characters, of names that do not begin with a word. */
  readonly #byStart = new Map<string, Map<string, Set<string>>>();

  /** How many users have names here. */
  get size(): number {
    return this.#users.size;
  }

  /** Gives a user these names, and no others. */
  set(userId: string, names: readonly string[]): void {
    this.delete(userId);
    const folded = [...new Set(names.map(foldCase))].filter((name) => name !== '' && name.length <= MAX_NAME_LENGTH);
    this.#users.set(userId, folded);
    for (const name of folded) {
      const [index, start] = this.#placeOf(name);
      let alike = index.get(start);
      if (alike === undefined) index.set(start, (alike = new Map()));
      const users = alike.get(name);
      if (users === undefined) alike.set(name, new Set([userId]));
      else users.add(userId);
    }
  }

  delete(userId: string): void {
    for (const name of this.#users.get(userId) ?? []) {
      const [index, start] = this.#placeOf(name);
      const names = index.get(start);
      const users = names?.get(name);
      users?.delete(userId);
      if (users?.size === 0) names?.delete(name);
      if (names?.size === 0) index.delete(start);
    }
    this.#users.delete(userId);
  }

  /** The users whose name occurs in a text of the event, as far as the budget allows. */
  namedIn(subject: PushSubject, text: string, budget: StepBudget): ReadonlySet<string> {
    const named = new Set<string>();
    const folded = subject.folded(text);
    const words = subject.words(folded);
    budget.spend(words.size);
    for (const word of words) this.#look(this.#byWord.get(word), folded, budget, named);
    if (this.#byStart.size === 0) return named;
    const seen = new Set<string>();
    budget.spend(folded.length);
    for (let at = 0; at < folded.length; at++) {
      if (isWordUnit(folded.charCodeAt(at))) continue;
      for (const start of [folded.slice(at, at + 1), folded.slice(at, at + 2)]) {
        const names = this.#byStart.get(start);
        if (names === undefined || seen.has(start)) continue;
        seen.add(start);
        this.#look(names, folded, budget, named);
      }
    }
    return named;
  }

  #look(
    names: ReadonlyMap<string, ReadonlySet<string>> | undefined,
    folded: string,
    budget: StepBudget,
    named: Set<string>,
  ): void {
    for (const [name, users] of names ?? []) {
      if (budget.isSpent) return;
      budget.spend(1);
      // Of a name that is one word, the word itself was met.
      if (isOneWord(name) || globMatchesWords(literalGlob(name), folded, budget))
        for (const userId of users) named.add(userId);
    }
  }

  #placeOf(name: string): [index: Map<string, Map<string, Set<string>>>, start: string] {
    let end = 0;
    while (end < name.length && isWordUnit(name.charCodeAt(end))) end++;
    if (end > 0) return [this.#byWord, name.slice(0, end)];
    return [this.#byStart, name.slice(0, name.length > 1 && !isWordUnit(name.charCodeAt(1)) ? 2 : 1)];
  }
}
