import { Lazy } from '#src/kernel/caches/lazy.ts';
import type { RE2JS } from 're2js';

/** A regular expression of a namespace: which values belong to it. */
export interface NamespacePattern {
  /** As the registration has it. */
  readonly source: string;
  /** Whether the beginning of a value matches; takes time that grows with its length, and no faster. */
  matches(value: string): boolean;
}

/** Longest pattern, in UTF-16 units, and instructions that it may compile to: they are what a match costs per character. */
export const MAX_LENGTH = 4_096;
const MAX_INSTRUCTIONS = 10_000;

const re2 = new Lazy(() => import('re2js'));

/**
 * Reads the regular expression of a namespace. As bridges expect it, it has to match from the beginning of a value, and need not reach its
 * end. It is of RE2's dialect, in which no expression takes long: without references back and without looking around.
 *
 * @throws Error with what is wrong with it
 */
export async function readPattern(source: string): Promise<NamespacePattern> {
  if (source.length > MAX_LENGTH) throw new Error(`is longer than ${MAX_LENGTH} characters`);
  // Loaded when a registration has a namespace: most servers have none.
  const { RE2JS: Engine } = await re2.get();
  let compiled: RE2JS;
  try {
    compiled = Engine.compile(source);
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^error parsing regexp: /, '') : String(error);
    throw new Error(`is no regular expression that this server can match in linear time: ${reason}`, { cause: error });
  }
  if (compiled.programSize() > MAX_INSTRUCTIONS)
    throw new Error('is too large: write it with fewer or smaller counts of repetitions');
  return { source, matches: (value) => compiled.matcher(value).lookingAt() };
}

const CLASS = /\[\^?(?:\\.|\](?=[^[]*\])|[^\]\\])(?:\\.|[^\]\\])*\]/g;

/**
 * An example that the pattern matches, built by a simple reading of it; undefined where that fails. It serves to find patterns
 * that overlap.
 */
export function sampleOf(pattern: NamespacePattern): string | undefined {
  const simple = pattern.source
    .replaceAll(CLASS, (text) => (text.startsWith('[^') ? '0' : text.replace(/^\[(?:\\?(.)).*$/su, '$1')))
    .replaceAll(/\\[dw]/g, '0')
    .replaceAll(/(?<!\\)\.(?=[*+?{])/g, '0')
    .replaceAll(/\(\?(?:P?<\w+>|:)/g, '(')
    .replaceAll(/(?<!\\)\{(\d+)[^}]*\}/g, '')
    .replaceAll(/\|[^)|]*/g, '')
    .replaceAll(/(?<!\\)[()^$*+?]/g, '')
    .replaceAll(/(?<!\\)\./g, '0')
    .replaceAll(/\\(.)/g, '$1');
  return pattern.matches(simple) ? simple : undefined;
}
