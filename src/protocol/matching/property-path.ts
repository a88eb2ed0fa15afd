/** Dot-separated property paths, such as `content.m\.relates_to.rel_type` (appendices, "Dot-separated property paths"). */

/**
 * The property names of a path. `\.` and `\\` stand for a dot and a backslash inside a name;
 * any other escape sequence is left as it is, backslash included.
 */
export function parsePropertyPath(path: string): readonly string[] {
  const names: string[] = [];
  let name = '';
  for (let i = 0; i < path.length; i++) {
    const char = path[i]!;
    const next = path[i + 1];
    if (char === '\\' && (next === '.' || next === '\\')) {
      name += next;
      i++;
    } else if (char === '.') {
      names.push(name);
      name = '';
    } else {
      name += char;
    }
  }
  names.push(name);
  return names;
}

/** The value at a path, or undefined if any step of it is missing or is not an object. Inherited properties do not exist. */
export function valueAtPath(root: unknown, names: readonly string[]): unknown {
  let value = root;
  for (const name of names) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, name))
      return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}
