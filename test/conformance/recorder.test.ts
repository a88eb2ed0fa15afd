import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { SchemaRecorder } from '#test/support/schema-recorder.ts';
import type { Json, Located, Operation, Specification } from '#test/support/specification.ts';

/** Examples of the specification that its own schemas refuse: "operationId status example". */
const WRONG_EXAMPLES: readonly string[] = [
  // The protocol "gitter" lacks "icon", which the schema requires.
  'getProtocols 200 example',
];

/** The examples of a response: of the media type, else of its schema. */
function examplesOf(specification: Specification, response: Located): [string, unknown][] {
  const media = specification.child(response, 'content', 'application/json');
  if (media === undefined) return [];
  const named = specification.child(media, 'examples');
  if (named !== undefined) {
    return Object.keys(named.node).map((name) => {
      const example = specification.child(named, name)!;
      return [name, specification.example(example.node['value'], example.file)];
    });
  }
  const schema = specification.child(media, 'schema');
  const holder = 'example' in media.node ? media : schema;
  return holder !== undefined && 'example' in holder.node
    ? [['example', specification.example(holder.node['example'], holder.file)]]
    : [];
}

describe('the schema recorder', function () {
  this.timeout(60_000);
  let recorder: SchemaRecorder;

  before(function () {
    recorder = new SchemaRecorder();
    if (!recorder.available) this.skip();
  });

  it('finds the operation of every endpoint in the list of endpoints', function () {
    let list: string;
    try {
      list = readFileSync(resolve(recorder.specification!.folder, '../endpoints.tsv'), 'utf8');
    } catch {
      return this.skip();
    }
    const shape = (path: string): string => path.replaceAll(/\{[^}]*\}/g, 'x');
    // Some endpoints are described twice, as two operations (`inviteUser` and `inviteBy3PID`): either will do.
    const declared = new Set(
      recorder.specification!.operations.map((o) => `${o.operationId} ${o.method} ${shape(o.path)}`),
    );
    const missing: string[] = [];
    for (const line of list.trim().split('\n').slice(1)) {
      const [, method = '', path = '', , , , operationId = ''] = line.split('\t');
      const found = recorder.specification!.find(method, shape(path));
      const same =
        found !== undefined &&
        shape(found.path) === shape(path) &&
        declared.has(`${operationId} ${method} ${shape(path)}`);
      if (!same) missing.push(`${method} ${path}: ${found?.operationId ?? 'nothing'} instead of ${operationId}`);
    }
    expect(missing).to.deep.equal([]);
  });

  it('prefers literal segments, ignores the query and knows r0', () => {
    const id = (method: string, url: string): string | undefined =>
      recorder.specification!.find(method, url)?.operationId;
    expect(id('GET', '/_matrix/client/v3/sync?since=x%2F')).to.equal('sync');
    expect(id('get', '/_matrix/client/r0/account/whoami')).to.equal('getTokenOwner');
    expect(id('GET', '/_matrix/client/v3/pushrules/global/')).to.equal('getPushRulesGlobal');
    expect(id('GET', '/_matrix/client/v3/rooms/!a:b/state/m.room.name/')).to.equal('getRoomStateWithKey');
    expect(id('GET', '/_matrix/client/v3/nothing')).to.equal(undefined);
    expect(id('PATCH', '/_matrix/client/v3/sync')).to.equal(undefined);
  });

  it('catches wrong answers of a known endpoint', () => {
    const check = (status: number, body: unknown): string[] =>
      recorder.check('GET', '/_matrix/client/v3/account/whoami', status, body);
    const name = 'GET /_matrix/client/v3/account/whoami (getTokenOwner)';
    expect(check(200, { user_id: '@a:example.org', device_id: 'X' })).to.deep.equal([]);
    expect(check(200, {})).to.deep.equal([`${name} 200: the body must have required property 'user_id'`]);
    expect(check(200, { user_id: '@a:example.org', is_guest: 'no' })).to.deep.equal([
      `${name} 200: /is_guest must be boolean`,
    ]);
    expect(check(200, { user_id: '@a' })).to.deep.equal([`${name} 200: /user_id must match format "mx-user-id"`]);
    expect(check(200, undefined)).to.deep.equal([`${name} 200: the body is not JSON`]);
    expect(check(204, undefined)).to.deep.equal([`${name} 204: the specification knows no such status here`]);
    expect(check(401, { errcode: 'M_UNKNOWN_TOKEN', error: 'x' })).to.deep.equal([]);
    expect(check(400, { message: 'x' })).to.deep.equal([`${name} 400: the body must have required property 'errcode'`]);
  });

  it('catches faults behind references, lists and rooms, and names the field once', () => {
    const timeline = { limited: false, prev_batch: 's', events: [{ type: 1 }, { type: 2 }] };
    const faults = recorder.check('GET', '/_matrix/client/v3/sync', 200, {
      next_batch: 's1',
      rooms: { join: { '!a:b': { timeline }, '!c:d': { timeline } } },
    });
    const field = 'GET /_matrix/client/v3/sync (sync) 200: /rooms/join/*/timeline/events/*/type must be string';
    expect(faults.filter((fault) => fault === field)).to.have.length(1);
  });

  it('takes the token errors of endpoints whose 401 is a user-interactive answer', () => {
    const check = (body: unknown): string[] => recorder.check('POST', '/_matrix/client/v3/delete_devices', 401, body);
    expect(check({ errcode: 'M_MISSING_TOKEN', error: 'x' })).to.deep.equal([]);
    expect(check({ flows: [{ stages: ['m.login.password'] }], params: {}, session: 'x' })).to.deep.equal([]);
    expect(check({ session: 'x' })).to.have.length(1);
  });

  it('has nothing to say about paths outside the specification', () => {
    expect(recorder.check('GET', '/_synapse/admin/v1/register', 500, 'x')).to.deep.equal([]);
    expect(recorder.check('OPTIONS', '/_matrix/client/v3/sync', 200, undefined)).to.deep.equal([]);
  });

  it('collects violations without repeating them, and throws them all', () => {
    const collecting = new SchemaRecorder();
    expect(() => collecting.assertNoViolations()).not.to.throw();
    for (let i = 0; i < 3; i++) collecting.record('GET', '/_matrix/client/v3/account/whoami', 200, {});
    collecting.record('GET', '/_matrix/client/v3/account/whoami', 200, { user_id: '@a:example.org' });
    expect(collecting.checked).to.equal(4);
    expect(collecting.violations()).to.have.length(1);
    expect(() => collecting.assertNoViolations()).to.throw(/getTokenOwner.*user_id.*\[3 times\]/);
  });

  it('compiles the schema of every response of every API', () => {
    const specification = recorder.specification!;
    const broken: string[] = [];
    let compiled = 0;
    for (const operation of specification.operations) {
      const { node = {} } = specification.child(operation.at, 'responses') ?? {};
      for (const status of Object.keys(node as Json)) {
        try {
          recorder.checkOperation(operation, Number(status), {});
          compiled++;
        } catch (error) {
          broken.push(`${operation.operationId} ${status}: ${String(error)}`);
        }
      }
    }
    expect(broken).to.deep.equal([]);
    expect(compiled).to.be.greaterThan(400);
  });

  it('accepts the examples of the client-server API, but for those known to be wrong', () => {
    const specification = recorder.specification!;
    const refused: string[] = [];
    const why: string[] = [];
    let accepted = 0;
    const each = (operation: Operation): void => {
      const responses = specification.child(operation.at, 'responses');
      for (const status of Object.keys(responses?.node ?? {})) {
        for (const [name, example] of examplesOf(specification, specification.child(responses!, status)!)) {
          const faults = recorder.checkOperation(operation, Number(status), example);
          if (faults.length === 0) accepted++;
          else {
            refused.push(`${operation.operationId} ${status} ${name}`);
            why.push(...faults);
          }
        }
      }
    };
    specification.operations.filter(({ api }) => api === 'client-server').forEach(each);
    expect(accepted).to.be.greaterThan(250);
    expect(refused, why.join('\n')).to.have.members(WRONG_EXAMPLES);
  });
});
