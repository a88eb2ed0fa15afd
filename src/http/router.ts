import type { Method } from './endpoint.ts';

/** A route that matched: what was registered, and the path's parameters, still percent-encoded. */
export interface RouteMatch<T> {
  readonly kind: 'found';
  readonly target: T;
  readonly names: readonly string[];
  readonly values: readonly string[];
}

export type RouteResult<T> =
  | RouteMatch<T>
  | { readonly kind: 'wrongMethod'; readonly allow: readonly Method[] }
  | { readonly kind: 'unknown' };

interface Leaf<T> {
  readonly target: T;
  readonly names: readonly string[];
  readonly template: string;
}

interface Node<T> {
  readonly fixed: Map<string, Node<T>>;
  parameter: Node<T> | undefined;
  readonly leaves: Map<Method, Leaf<T>>;
}

const newNode = <T>(): Node<T> => ({ fixed: new Map(), parameter: undefined, leaves: new Map() });

const PARAMETER = /^\{([A-Za-z0-9_]+)\}$/;
const UNKNOWN = { kind: 'unknown' } as const;

/**
 * Finds routes by the segments of a path: one step per segment however many routes there are. A literal segment of a template
 * wins over a parameter, a parameter never matches an empty segment, and nothing is normalised: `%2F` stays inside its segment and
 * `/a/` is another path than `/a`.
 */
export class Router<T> {
  readonly #root: Node<T> = newNode();

  /**
   * Registers `target`. The same target twice under one method and path is one registration.
   *
   * @throws Error when another target has this method and path already
   */
  add(method: Method, template: string, target: T): void {
    if (!template.startsWith('/')) throw new Error(`The path ${template} does not start with a slash.`);
    const names: string[] = [];
    let node = this.#root;
    for (const segment of template.slice(1).split('/')) {
      const name = PARAMETER.exec(segment)?.[1];
      if (name === undefined) {
        let next = node.fixed.get(segment);
        if (next === undefined) node.fixed.set(segment, (next = newNode()));
        node = next;
      } else {
        if (names.includes(name)) throw new Error(`The path ${template} names the parameter ${name} twice.`);
        names.push(name);
        node = node.parameter ??= newNode();
      }
    }
    const other = node.leaves.get(method);
    if (other !== undefined) {
      if (other.target === target) return;
      throw new Error(`${method} ${template} is declared twice: it is the same path as ${other.template}.`);
    }
    node.leaves.set(method, { target, names, template });
  }

  /** Looks up the path of a request (without its query). */
  match(method: string, path: string): RouteResult<T> {
    const segments = path.split('/');
    const values: string[] = [];
    const allow = new Set<Method>();
    const descend = (node: Node<T>, index: number): RouteMatch<T> | undefined => {
      if (index === segments.length) {
        const leaf = node.leaves.get(method as Method);
        if (leaf !== undefined) return { kind: 'found', target: leaf.target, names: leaf.names, values };
        for (const known of node.leaves.keys()) allow.add(known);
        return undefined;
      }
      const segment = segments[index] as string;
      const fixed = node.fixed.get(segment);
      if (fixed !== undefined) {
        const found = descend(fixed, index + 1);
        if (found !== undefined) return found;
      }
      if (node.parameter === undefined || segment === '') return undefined;
      values.push(segment);
      const found = descend(node.parameter, index + 1);
      if (found === undefined) values.pop();
      return found;
    };
    if (segments[0] !== '') return UNKNOWN;
    const found = descend(this.#root, 1);
    if (found !== undefined) return found;
    return allow.size > 0 ? { kind: 'wrongMethod', allow: [...allow] } : UNKNOWN;
  }
}
