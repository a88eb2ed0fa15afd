import { createRequire } from 'node:module';
import { expect } from 'chai';
import fc from 'fast-check';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { assertJsonObject, canonicalJsonFault, isJsonObject, MAX_JSON_DEPTH } from '#src/protocol/json/json-value.ts';
import type { JsonValue } from '#src/protocol/json/json-value.ts';

// The package brings neither types nor a default export.
const canonicaljson = createRequire(import.meta.url)('canonicaljson') as { stringify(value: unknown): string };

const parse = (text: string): JsonValue => JSON.parse(text) as JsonValue;

/** Appendices, "Canonical JSON", Examples: input and output. */
const SPECIFICATION: readonly (readonly [string, string])[] = [
  ['{}', '{}'],
  ['{ "one": 1, "two": "Two" }', '{"one":1,"two":"Two"}'],
  ['{ "b": "2", "a": "1" }', '{"a":"1","b":"2"}'],
  ['{"b":"2","a":"1"}', '{"a":"1","b":"2"}'],
  [
    `{"auth":{"success":true,"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[
      {"medium":"email","address":"john.doe@example.org"},{"medium":"msisdn","address":"123456789"}]}}}`,
    '{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","three_pids":[{"address":"john.doe@example.org","medium":"email"},{"address":"123456789","medium":"msisdn"}]},"success":true}}',
  ],
  ['{ "a": "日本語" }', '{"a":"日本語"}'],
  ['{ "本": 2, "日": 1 }', '{"日":1,"本":2}'],
  ['{ "a": "\\u65E5" }', '{"a":"日"}'],
  ['{ "a": null }', '{"a":null}'],
  ['{ "a": -0, "b": 1e10 }', '{"a":0,"b":10000000000}'],
];

/** A slow and obvious encoder: code points compared one by one, escapes by the table of the grammar. */
function obvious(value: JsonValue): string {
  if (typeof value === 'string') {
    const named: Record<string, string> = {
      '\b': '\\b',
      '\t': '\\t',
      '\n': '\\n',
      '\f': '\\f',
      '\r': '\\r',
      '"': '\\"',
      '\\': '\\\\',
    };
    return `"${Array.from(value, (c) => named[c] ?? (c < ' ' ? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}` : c)).join('')}"`;
  }
  if (Array.isArray(value)) return `[${value.map((item) => obvious(item as JsonValue)).join(',')}]`;
  if (isJsonObject(value)) {
    const members = Object.keys(value).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    return `{${members.map((member) => `${obvious(member)}:${obvious(value[member] as JsonValue)}`).join(',')}}`;
  }
  return value === 0 ? '0' : JSON.stringify(value);
}

const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'binary' }),
  fc.constantFrom('__proto__', 'constructor', '10', '9'),
);
const json = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5 },
    fc.constant(null),
    fc.boolean(),
    fc.maxSafeInteger(),
    text,
    fc.array(tie('value')),
    fc.array(fc.tuple(text, tie('value'))).map((entries) => Object.fromEntries(entries)),
  ),
})).value;

describe('canonicalJson', () => {
  for (const [input, output] of SPECIFICATION) {
    it(`encodes ${input.slice(0, 40)} as the specification does`, () =>
      expect(canonicalJson(parse(input))).to.equal(output));
  }

  it('agrees with the canonicaljson package on text without control characters', () => {
    // That package writes control characters in capitals and compares UTF-16 units, so it judges plain text only.
    const plain = fc.string({ unit: fc.integer({ min: 0x20, max: 0xd7ff }).map((code) => String.fromCodePoint(code)) });
    const plainJson = fc.letrec<{ value: JsonValue }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constant(null),
        fc.boolean(),
        fc.integer(),
        plain,
        fc.array(tie('value')),
        fc.dictionary(plain, tie('value'), { noNullPrototype: true }),
      ),
    })).value;
    fc.assert(fc.property(plainJson, (value) => canonicalJson(value) === canonicaljson.stringify(value)));
  });

  it('agrees with an encoder that takes the grammar literally', () => {
    fc.assert(fc.property(json, (value) => canonicalJson(value) === obvious(value)));
  });

  it('writes what JSON.parse reads back as the same value', () => {
    fc.assert(fc.property(json, (value) => canonicalJson(parse(canonicalJson(value))) === canonicalJson(value)));
  });

  it('sorts by code point and not by UTF-16 unit', () => {
    expect(canonicalJson({ '\u{1f600}': 1, '\uffee': 2, a: 3 })).to.equal('{"a":3,"\uffee":2,"\u{1f600}":1}');
  });

  it('sorts numeric keys as text, in small and in large objects', () => {
    expect(canonicalJson({ 9: 'a', 10: 'b', '-': 'c' })).to.equal('{"-":"c","10":"b","9":"a"}');
    const large = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [String(99 - index), index]));
    expect(Object.keys(large)).to.have.length(100);
    expect(canonicalJson(large)).to.match(/^\{"0":99,"1":98,"10":89,"11":88/);
  });

  it('keeps a member called __proto__', () => {
    expect(canonicalJson(parse('{"__proto__":{"a":1},"a":2}'))).to.equal('{"__proto__":{"a":1},"a":2}');
  });

  it('escapes control characters in lower case and nothing else', () => {
    expect(canonicalJson('\u0000\u001f\b\t\n\f\r"\\/\u007f\u2028é')).to.equal(
      '"\\u0000\\u001f\\b\\t\\n\\f\\r\\"\\\\/\u007f\u2028é"',
    );
  });

  for (const [what, value] of [
    ['a float', 1.5],
    ['2^53', 2 ** 53],
    ['-(2^53)', -(2 ** 53)],
    ['NaN', NaN],
    ['a lone surrogate', '\ud800'],
    ['a lone surrogate as a key', { '\udc00x': 1 }],
  ] as const) {
    it(`refuses ${what} with M_BAD_JSON`, () => {
      expect(() => canonicalJson({ a: [value] }))
        .to.throw(MatrixError)
        .with.property('errcode', 'M_BAD_JSON');
    });
  }

  it('accepts the largest integers', () => {
    expect(canonicalJson([Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER])).to.equal(
      '[9007199254740991,-9007199254740991]',
    );
  });

  it('takes undefined for a mistake of the caller', () => {
    expect(() => canonicalJson({ a: undefined } as unknown as JsonValue)).to.throw(TypeError);
  });

  it('has no form for numbers that are too large for any, which a request may hold', () => {
    const parsed = JSON.parse('{"a":1e400}') as JsonValue;
    for (const mode of ['strict', 'lenient'] as const)
      expect(() => canonicalJson(parsed, mode))
        .to.throw(MatrixError)
        .with.property('errcode', 'M_BAD_JSON');
  });

  it('tolerates floats, large integers and lone surrogates when lenient', () => {
    expect(canonicalJson([1.5, 2 ** 60, 1e22, '\ud800'], 'lenient')).to.equal(
      '[1.5,1152921504606846976,10000000000000000000000,"\\ud800"]',
    );
  });

  it('refuses a tower of brackets instead of running out of stack', () => {
    const tower = (height: number): JsonValue => parse('['.repeat(height) + ']'.repeat(height));
    expect(canonicalJson(tower(MAX_JSON_DEPTH))).to.have.length(2 * MAX_JSON_DEPTH);
    expect(() => canonicalJson(tower(5000))).to.throw(MatrixError);
    expect(canonicalJsonFault(tower(5000))).to.match(/nested deeper/);
  });
});

describe('assertJsonObject', () => {
  for (const value of ['"text"', '[]', 'null', '1', 'true']) {
    it(`answers M_BAD_JSON for ${value}`, () => {
      expect(() => assertJsonObject(parse(value)))
        .to.throw(MatrixError)
        .with.property('errcode', 'M_BAD_JSON');
    });
  }

  it('looks for floats only when asked for canonical JSON', () => {
    const body = parse('{"a":{"b":[1.1]}}');
    expect(() => assertJsonObject(body)).not.to.throw();
    expect(() => assertJsonObject(body, 'The content', true)).to.throw(MatrixError, /The content .* not an integer/);
  });

  it('finds a fault exactly where the encoder refuses', () => {
    const wild = fc.jsonValue({ stringUnit: 'binary' });
    fc.assert(
      fc.property(wild, (value) => {
        let refused = false;
        try {
          canonicalJson(value as JsonValue);
        } catch {
          refused = true;
        }
        return refused === (canonicalJsonFault(value) !== undefined);
      }),
    );
  });
});
