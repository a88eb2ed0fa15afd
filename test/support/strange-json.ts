import fc from 'fast-check';

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
