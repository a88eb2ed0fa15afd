/** A state key with its event type, as one integer stands for both. */
export interface StateKeyNames {
  readonly type: string;
  readonly stateKey: string;
}

/** The kinds of names: event types and relation types, state keys with their event types, user ids. */
export const FAMILIES = ['types', 'stateKeys', 'users'] as const;
export type Family = (typeof FAMILIES)[number];

/** A state key with its event type as one text, as `Names` and the interner hold it. */
export const stateKeyText = ({ type, stateKey }: StateKeyNames): string => `${type}\0${stateKey}`;
export const stateKeyOf = (text: string): StateKeyNames => {
  const cut = text.indexOf('\0');
  return { type: text.slice(0, cut), stateKey: text.slice(cut + 1) };
};

const unknownName = (family: Family, key: string | number): Error =>
  new Error(`${JSON.stringify(key)} is not among the ${family} that were asked for`);

/**
 * Names with their integers: those that a caller asked the interner for. They are known here as long as the caller holds this, whatever
 * is evicted from the interner.
 */
export class Names {
  // Each message has an object of its own: maps are made when they are needed, and each direction from the other one.
  readonly #nids: Record<Family, Map<string, number> | undefined> = {
    types: undefined,
    stateKeys: undefined,
    users: undefined,
  };
  readonly #texts: Record<Family, Map<number, string> | undefined> = {
    types: undefined,
    stateKeys: undefined,
    users: undefined,
  };

  add(family: Family, text: string, nid: number): void {
    this.#nidsOf(family).set(text, nid);
    this.#texts[family]?.set(nid, text);
  }

  /** The same where the integer is known and the text will be asked for. */
  addText(family: Family, text: string, nid: number): void {
    this.#textsOf(family).set(nid, text);
    this.#nids[family]?.set(text, nid);
  }

  #nidsOf(family: Family): Map<string, number> {
    return (this.#nids[family] ??= new Map(Array.from(this.#texts[family] ?? [], ([nid, text]) => [text, nid])));
  }

  #textsOf(family: Family): Map<number, string> {
    return (this.#texts[family] ??= new Map(Array.from(this.#nids[family] ?? [], ([text, nid]) => [nid, text])));
  }

  /** Adds the names of another one. @returns this */
  with(others: Names): this {
    for (const family of FAMILIES) for (const [text, nid] of others.#nidsOf(family)) this.add(family, text, nid);
    return this;
  }

  #nid(family: Family, text: string): number {
    const nid = this.#nidsOf(family).get(text);
    if (nid === undefined) throw unknownName(family, text);
    return nid;
  }

  #text(family: Family, nid: number): string {
    const text = this.#textsOf(family).get(nid);
    if (text === undefined) throw unknownName(family, nid);
    return text;
  }

  /** Undefined for names that do not exist or were not asked for, where the other methods throw. */
  peekType(type: string): number | undefined {
    return this.#nidsOf('types').get(type);
  }
  type(type: string): number {
    return this.#nid('types', type);
  }
  typeName(nid: number): string {
    return this.#text('types', nid);
  }

  peekStateKey(type: string, stateKey: string): number | undefined {
    return this.#nidsOf('stateKeys').get(stateKeyText({ type, stateKey }));
  }
  stateKey(type: string, stateKey: string): number {
    return this.#nid('stateKeys', stateKeyText({ type, stateKey }));
  }
  stateKeyNames(nid: number): StateKeyNames {
    return stateKeyOf(this.#text('stateKeys', nid));
  }

  peekUser(userId: string): number | undefined {
    return this.#nidsOf('users').get(userId);
  }
  user(userId: string): number {
    return this.#nid('users', userId);
  }
  userName(nid: number): string {
    return this.#text('users', nid);
  }
}
