import { expect } from 'chai';
import { type TSchema, Type } from 'typebox';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { FormBody, RawBody, StreamBody } from '#src/http/endpoint.ts';
import { JOBS } from '#src/jobs/definitions.ts';
import { schemaCheck } from '#src/kernel/schema-check.ts';
import { METHODS } from '#src/ws/methods.ts';

describe('checking by a schema', () => {
  it('says nothing of what the schema allows, unknown members included, and else which member is wrong', () => {
    const check = schemaCheck(Type.Object({ a: Type.Integer(), b: Type.Optional(Type.Array(Type.String())) }));
    expect(check({ a: 1, c: 'unknown' })).to.equal(undefined);
    expect(check({ a: 1, b: ['x', 2] })).to.include({ instancePath: '/b/1', keyword: 'type' });
    expect(check({})).to.include({ keyword: 'required' });
    expect(check({ a: 1, b: [] }), 'the error before is not remembered').to.equal(undefined);
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
