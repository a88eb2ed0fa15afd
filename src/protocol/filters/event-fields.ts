/** `event_fields` of a filter: events cut down to the members that a client asked for. */

import { parsePropertyPath } from '#src/protocol/matching/property-path.ts';

type Json = Readonly<Record<string, unknown>>;

/** The asked-for paths as a tree; a node without branches stands for the whole value. */
interface FieldTree {
  readonly branches: Map<string, FieldTree>;
  whole: boolean;
}

/**
 * Parses the paths once, for many events.
 *
 * @returns gives an event with only these members; paths that it does not have are left out, and the event is not changed
 */
export function compileEventFields(fields: readonly string[]): (event: Json) => Json {
  const root: FieldTree = { branches: new Map(), whole: false };
  for (const field of fields) {
    let node = root;
    for (const name of parsePropertyPath(field)) {
      let next = node.branches.get(name);
      if (next === undefined) node.branches.set(name, (next = { branches: new Map(), whole: false }));
      node = next;
    }
    node.whole = true;
  }
  return (event) => pick(event, root);
}

function pick(from: Json, tree: FieldTree): Json {
  const entries: [string, unknown][] = [];
  const take = (name: string, branch: FieldTree | undefined): void => {
    if (branch === undefined || !Object.hasOwn(from, name)) return;
    const value = from[name];
    if (branch.whole) {
      entries.push([name, value]);
    } else if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      const picked = pick(value as Json, branch);
      if (Object.keys(picked).length > 0) entries.push([name, picked]);
    }
  };
  // Whichever is shorter is gone through: a long list of fields costs events with few members nothing.
  const names = Object.keys(from);
  if (names.length < tree.branches.size) for (const name of names) take(name, tree.branches.get(name));
  else for (const [name, branch] of tree.branches) take(name, branch);
  // fromEntries defines members instead of assigning them, so that "__proto__" is a name like any other.
  return Object.fromEntries(entries);
}
