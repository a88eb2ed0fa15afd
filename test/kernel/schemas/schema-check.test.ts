import { expect } from 'chai';
import { type TSchema, Type } from 'typebox';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { FormBody, RawBody, StreamBody } from '#src/http/endpoint.ts';
import { JOBS } from '#src/jobs/definitions.ts';
import { schemaCheck } from '#src/kernel/schemas/schema-check.ts';
import { METHODS } from '#src/ws/methods.ts';

describe('checking by a schema', () => {
  it('says nothing of what the schema allows, unknown members included, and else which member is wrong', () => {
    const check = schemaCheck(Type.Object({ a: Type.Integer(), b: Type.Optional(Type.Array(Type.String())) }));
    expect(check({ a: 1, c: 'unknown' })).to.equal(undefined);
    expect(check({ a: 1, b: ['x', 2] })).to.include({ instancePath: '/b/1', keyword: 'type' });
    expect(check({})).to.include({ keyword: 'required' });
    expect(check({ a: 1, b: [] }), 'the error before is not remembered').to.equal(undefined);
  });

  it('allows no NUL in a text that is declared, or in a name of a map of declared values, and leaves what may be anything as it is', () => {
    const free = Type.Object({}, { additionalProperties: true });
    const check = schemaCheck(
      Type.Object({
        text: Type.Optional(Type.String()),
        list: Type.Optional(Type.Array(Type.Union([Type.String(), Type.Null()]))),
        byUser: Type.Optional(Type.Record(Type.String(), Type.Record(Type.String(), free))),
        anything: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
        content: Type.Optional(free),
      }),
    );
    const nul = 'a\u0000b';
    const refused: readonly (readonly [object, string])[] = [
      [{ text: nul }, '/text'],
      [{ list: ['x', nul] }, '/list/1'],
      [{ byUser: { [nul]: {} } }, '/byUser'],
      [{ byUser: { x: { [nul]: {} } } }, '/byUser/x'],
    ];
    for (const [value, instancePath] of refused)
      expect(check(value)).to.include({ instancePath, message: 'must not hold a NUL character' });
    for (const value of [
      { content: { [nul]: nul } },
      { anything: { [nul]: nul } },
      { byUser: { x: { y: { [nul]: nul } } } },
    ])
      expect(check(value), JSON.stringify(value)).to.equal(undefined);
  });

  it('looks at each value of a map, whatever its name is', () => {
    const check = schemaCheck(Type.Record(Type.String(), Type.Integer()));
    expect(check({ 'a\nb': 1, '': 2 })).to.equal(undefined);
    expect(check({ 'a\nb': null })).to.include({ instancePath: '/a\nb', keyword: 'type' });
  });

  it('is possible with every schema of an endpoint, a method and a job, though each is compiled only when it is used', () => {
    const schemas: TSchema[] = [];
    for (const { body, params, query } of ENDPOINTS) {
      const ofBody = body instanceof FormBody ? body.schema : body;
      const isJson = !(ofBody instanceof RawBody || ofBody instanceof StreamBody);
      schemas.push(...[isJson ? ofBody : undefined, params, query].filter((schema) => schema !== undefined));
    }
    schemas.push(...[...METHODS.values()].map(({ params }) => params), ...JOBS.map(({ payload }) => payload));
    expect(schemas.length).to.be.greaterThan(100);
    for (const schema of schemas) expect(() => schemaCheck(schema)({}), JSON.stringify(schema)).to.not.throw();
  });
});
