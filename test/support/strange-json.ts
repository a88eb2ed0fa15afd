import fc from 'fast-check';
import type { JsonValue } from '#src/protocol/json/json-value.ts';

/** Texts that are trouble: NUL, direction marks, what is nearly an identifier, names of JavaScript's own. */
export const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.constantFrom(
    '\0',
    '\u202e',
    '！部屋',
    '!\0:x',
    '#\0:localhost',
    '@\0:localhost',
    '$\0',
    '__proto__',
    'constructor',
    '',
  ),
  fc.constantFrom(
    'invite',
    'public',
    'knock',
    'restricted',
    'knock_restricted',
    'world_readable',
    'joined',
    'can_join',
  ),
  fc.constant('x'.repeat(2000)),
);
export const integer = fc.oneof(
  fc.integer(),
  fc.constantFrom(0, 100, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
);
/** Any JSON that an event can hold. */
export const json = fc.letrec<{ value: unknown; list: unknown[]; map: unknown }>((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, fc.constantFrom(null, true, false), integer, text, tie('list'), tie('map')),
  list: fc.array(tie('value'), { maxLength: 3 }),
  map: fc.dictionary(
    fc.oneof(
      fc.constantFrom('type', 'room_id', 'room', 'm.text', 'body', 'signed', 'm.room_membership', '@bob:localhost'),
      text,
    ),
    tie('value'),
    { maxKeys: 3 },
  ),
})).value;

/** A value in lists of so many levels. */
export const deep = (depth: number): JsonValue => {
  let value: JsonValue = 1;
  for (let n = 0; n < depth; n++) value = [value];
  return value;
};

/** A place in a value, and what stands there instead; nothing when it is undefined. */
export interface Change {
  readonly at: number;
  readonly to: JsonValue | undefined;
}

/** One or two changes of a value that is as it should be. */
export const changes: fc.Arbitrary<readonly Change[]> = fc.array(
  fc.record({
    at: fc.nat(1_000),
    to: fc.option(
      fc.oneof(
        { arbitrary: json as fc.Arbitrary<JsonValue>, weight: 6 },
        {
          arbitrary: fc.constantFrom<JsonValue>(
            '\ud800',
            '@\udfff:p.test',
            { '\ud800': ['\udfff'] },
            deep(90),
            deep(400),
            'x'.repeat(100_000),
            Array.from({ length: 5_000 }, (_, n) => n),
            -1,
            2 ** 53,
            1.5,
            1e300,
          ),
          weight: 1,
        },
      ),
      { nil: undefined },
    ),
  }),
  { minLength: 1, maxLength: 2 },
);

const placesOf = (value: JsonValue): number =>
  typeof value !== 'object' || value === null
    ? 1
    : Object.values(value).reduce<number>((sum, inner) => sum + placesOf(inner), 1);

/** The same with something else in one of its places. */
export const changed = (value: JsonValue, change: Change): JsonValue => {
  let left = change.at % placesOf(value);
  const walk = (one: JsonValue): JsonValue | undefined => {
    if (left-- === 0) return change.to;
    if (Array.isArray(one)) return one.map(walk).filter((kept) => kept !== undefined);
    if (typeof one !== 'object' || one === null) return one;
    const members = Object.entries(one).map(([name, inner]) => [name, walk(inner)] as const);
    return Object.fromEntries(members.filter((member): member is [string, JsonValue] => member[1] !== undefined));
  };
  return walk(value) ?? null;
};
