import type { Json } from './account.ts';

/** The shape of JSON: which keys there are, and of which types their values are. null is of every type. */
export type Shape =
  | { readonly kind: 'any' | 'string' | 'number' | 'boolean' }
  | { readonly kind: 'list'; readonly of: Shape }
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, Shape> };

const ANY: Shape = { kind: 'any' };

export const shapeOf = (value: Json): Shape => {
  if (value === null || value === undefined) return ANY;
  if (Array.isArray(value)) return { kind: 'list', of: value.map(shapeOf).reduce(merged, ANY) };
  if (typeof value !== 'object') return { kind: typeof value as 'string' | 'number' | 'boolean' };
  return { kind: 'object', members: new Map(Object.entries(value).map(([key, one]) => [key, shapeOf(one)])) };
};

/** The shape of what is of one of two shapes, as the entries of a list are. */
const merged = (one: Shape, other: Shape): Shape => {
  if (one.kind === 'any') return other;
  if (other.kind === 'any') return one;
  if (one.kind === 'list' && other.kind === 'list') return { kind: 'list', of: merged(one.of, other.of) };
  if (one.kind !== 'object' || other.kind !== 'object') return one;
  const keys = new Set([...one.members.keys(), ...other.members.keys()]);
  return {
    kind: 'object',
    members: new Map([...keys].map((key) => [key, merged(one.members.get(key) ?? ANY, other.members.get(key) ?? ANY)])),
  };
};

/** Where two shapes differ, key by key: `users[].name is a string, and a number there`. */
export const differencesOf = (one: Shape, other: Shape, at = ''): readonly string[] => {
  if (one.kind === 'any' || other.kind === 'any') return [];
  if (one.kind !== other.kind) return [`${at} is ${one.kind}, and ${other.kind} there`];
  if (one.kind === 'list' && other.kind === 'list') return differencesOf(one.of, other.of, `${at}[]`);
  if (one.kind !== 'object' || other.kind !== 'object') return [];
  const place = (key: string): string => (at === '' ? key : `${at}.${key}`);
  return [...new Set([...one.members.keys(), ...other.members.keys()])].flatMap((key) => {
    const [here, there] = [one.members.get(key), other.members.get(key)];
    if (here === undefined) return [`${place(key)} is missing`];
    if (there === undefined) return [`${place(key)} is not there`];
    return differencesOf(here, there, place(key));
  });
};
