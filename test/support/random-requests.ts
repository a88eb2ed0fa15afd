import fc from 'fast-check';
import { type Endpoint, FormBody, RawBody, StreamBody } from '#src/http/endpoint.ts';
import { pathsOf } from '#src/http/operation.ts';
import { json, text } from './strange-json.ts';

/** A request that an endpoint may be sent. */
export interface RandomRequest {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly body: string | Uint8Array<ArrayBuffer> | undefined;
}

/** Real things by the names under which requests name them: `roomId`, `room_id`, `event_id` ... */
export type KnownThings = Readonly<Record<string, readonly string[]>>;

/** What of a schema of TypeBox is looked at. */
interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly patternProperties?: Readonly<Record<string, Schema>>;
}

/** Numbers of seconds and milliseconds that requests wait for: nobody waits long for a random request. */
const WAITS = new Set(['timeout', 'timeout_ms', 'ts', 'delay']);

const oneOf = (values: readonly unknown[]): fc.Arbitrary<unknown> => fc.constantFrom(...values);
const number = fc.oneof(fc.integer(), oneOf([-1, 0, 1, 10, 100, 1e15, Number.MAX_SAFE_INTEGER, -0.5, 2 ** 53, 1e300]));

/** Mostly what stands under such a name, else something odd. */
const named = (name: string, things: KnownThings): fc.Arbitrary<string> | undefined => {
  const values = things[name];
  if (values === undefined || values.length === 0) return undefined;
  return fc.oneof({ arbitrary: fc.constantFrom(...values), weight: 5 }, { arbitrary: text, weight: 1 });
};

/** Values that fit a schema, or nearly. */
const fitting = (schema: Schema, name: string, things: KnownThings, depth = 0): fc.Arbitrary<unknown> => {
  if (WAITS.has(name)) return oneOf([0, 1, -1, '1', null, 0.5]);
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.anyOf !== undefined) return fc.oneof(...schema.anyOf.map((one) => fitting(one, name, things, depth + 1)));
  switch (schema.type) {
    case 'string':
      return named(name, things) ?? text;
    case 'integer':
    case 'number':
      return number;
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(mostly(schema.items ?? {}, name, things, depth + 1), { maxLength: 4 });
    case 'object':
      return objects(schema, things, depth);
    default:
      return json;
  }
};

/** Values that fit a schema most of the time. */
const mostly = (schema: Schema, name: string, things: KnownThings, depth: number): fc.Arbitrary<unknown> =>
  depth > 5
    ? json
    : fc.oneof({ arbitrary: fitting(schema, name, things, depth), weight: 6 }, { arbitrary: json, weight: 1 });

const objects = (schema: Schema, things: KnownThings, depth: number): fc.Arbitrary<unknown> => {
  const members = Object.entries(schema.properties ?? {});
  const known = fc.record(
    Object.fromEntries(members.map(([name, one]) => [name, mostly(one, name, things, depth + 1)])),
    { requiredKeys: [] },
  );
  // Objects that are maps: mostly of ids that are there.
  const [values] = Object.values(schema.patternProperties ?? {});
  const ids = fc.constantFrom(...Object.values(things).flat(), '__proto__', 'signed_curve25519:AAA');
  const map = fc.dictionary(ids, values === undefined ? json : mostly(values, '', things, depth + 1), { maxKeys: 3 });
  return fc
    .tuple(known, fc.option(map, { nil: {}, freq: values === undefined && members.length > 0 ? 3 : 1 }))
    .map(([some, more]) => ({ ...more, ...(some as object) }));
};

const bytes = fc.uint8Array({ maxLength: 200 }).map((array) => new Uint8Array(array));
/** What is no JSON, or hardly any. */
const wreckage = fc.oneof(
  bytes,
  fc.constantFrom('', '{', 'null', '[]', '"x"', '{"a":1e400}', '{"a":"\\ud800"}', '['.repeat(5_000), '\u0000', '{}x'),
  json.map((value) => JSON.stringify(value)),
);

const bodiesOf = ({ body }: Endpoint, things: KnownThings): fc.Arbitrary<RandomRequest['body']> => {
  if (body === undefined) return fc.option(wreckage, { nil: undefined, freq: 5 });
  if (body instanceof FormBody || body instanceof RawBody || body instanceof StreamBody) return bytes;
  return fc.oneof(
    { arbitrary: fitting(body as Schema, '', things).map((value) => JSON.stringify(value)), weight: 8 },
    { arbitrary: wreckage, weight: 1 },
  );
};

const segment = (name: string, things: KnownThings): fc.Arbitrary<string> =>
  (named(name, things) ?? text).map((value) => encodeURIComponent(value.toWellFormed()));

/** Requests to an endpoint: mostly of the form that it declares, about things that are there, with something odd now and then. */
export const requestsOf = (endpoint: Endpoint, things: KnownThings): fc.Arbitrary<RandomRequest> => {
  const paths = pathsOf(endpoint).map((template) => {
    const parts = template.split(/(\{\w+\})/);
    return fc
      .tuple(...parts.map((part) => (part.startsWith('{') ? segment(part.slice(1, -1), things) : fc.constant(part))))
      .map((texts) => texts.join(''));
  });
  const fields = Object.entries((endpoint.query as Schema | undefined)?.properties ?? {});
  const query = fc
    .record(Object.fromEntries(fields.map(([name, one]) => [name, fitting(one, name, things)])), { requiredKeys: [] })
    .map((values) => {
      const entries = Object.entries(values).map(([name, value]): [string, string] => [
        name,
        typeof value === 'string' ? value.toWellFormed() : JSON.stringify(value),
      ]);
      return entries.length === 0 ? '' : `?${new URLSearchParams(entries)}`;
    });
  return fc.tuple(fc.oneof(...paths), query, bodiesOf(endpoint, things)).map(([path, search, body]) => ({
    method: endpoint.method,
    path: path + search,
    body: endpoint.method === 'GET' ? undefined : body,
  }));
};
