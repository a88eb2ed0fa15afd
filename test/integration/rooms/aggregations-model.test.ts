import { expect } from 'chai';
import fc from 'fast-check';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

const PEOPLE = ['alice', 'bob', 'carol'];
const idOf = (name: string): string => `@${name}:test`;

type Action =
  | { readonly do: 'send'; readonly by: string; readonly type: string; readonly state: boolean }
  | {
      readonly do: 'relate';
      readonly by: string;
      readonly to: number;
      readonly rel: string;
      readonly type: string;
      readonly whole: boolean;
    }
  | { readonly do: 'redact'; readonly at: number }
  | { readonly do: 'wait' | 'restart' | 'read' };

/** What the specification says of an event's aggregations, worked out anew from everything that is there. */
const bundleOf = (
  target: Json,
  all: readonly Json[],
  reader: string,
  ignored: ReadonlySet<string>,
  isNested = false,
): Json => {
  if (target.state_key !== undefined) return undefined;
  const children = all.filter(
    (event) => event.content['m.relates_to']?.event_id === target.event_id && !ignored.has(event.sender),
  );
  const of = (relType: string): Json[] =>
    children.filter((event) => event.content['m.relates_to'].rel_type === relType);
  const bundle: Json = {};
  const edits = of('m.replace').filter(
    (edit) =>
      edit.sender === target.sender &&
      edit.type === target.type &&
      edit.state_key === undefined &&
      (edit.type === 'm.room.encrypted' || 'm.new_content' in edit.content) &&
      target.content['m.relates_to']?.rel_type !== 'm.replace' &&
      target.unsigned?.redacted_because === undefined,
  );
  const latest = edits.toSorted(
    (a, b) => b.origin_server_ts - a.origin_server_ts || (a.event_id < b.event_id ? 1 : -1),
  )[0];
  if (latest !== undefined) bundle['m.replace'] = latest.event_id;
  const references = of('m.reference').map((event) => ({ event_id: event.event_id }));
  if (references.length > 0) bundle['m.reference'] = { chunk: references };
  const replies = of('m.thread');
  if (replies.length > 0 && target.content['m.relates_to'] === undefined && !isNested) {
    const last = replies.at(-1);
    bundle['m.thread'] = {
      count: replies.length,
      current_user_participated: target.sender === reader || replies.some((event) => event.sender === reader),
      latest_event: last.event_id,
      latest_bundle: bundleOf(last, all, reader, ignored, true),
    };
  }
  return Object.keys(bundle).length === 0 ? undefined : bundle;
};

/** A served bundle, with ids in place of events. */
const brief = (bundle: Json): Json => {
  if (bundle === undefined) return undefined;
  const result: Json = { ...bundle };
  if (bundle['m.replace'] !== undefined) result['m.replace'] = bundle['m.replace'].event_id;
  const thread = bundle['m.thread'];
  if (thread !== undefined) {
    const { count, current_user_participated: takesPart, latest_event: last } = thread;
    result['m.thread'] = {
      count,
      current_user_participated: takesPart,
      latest_event: last.event_id,
      latest_bundle: brief(last.unsigned?.['m.relations']),
    };
  }
  return result;
};

describe('aggregations, whatever was sent, edited and redacted', function () {
  this.timeout(180_000);
  let server: InProcessServer;
  let txn = 0;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  it('equal what can be worked out from all events, for everybody who reads them', async () => {
    const by = fc.constantFrom(...PEOPLE);
    const type = fc.constantFrom('m.room.message', 'm.room.message', 'm.room.encrypted', 'x.y');
    const rel = fc.constantFrom(
      'm.replace',
      'm.replace',
      'm.thread',
      'm.thread',
      'm.reference',
      'm.annotation',
      'x.rel',
    );
    const action: fc.Arbitrary<Action> = fc.oneof(
      { arbitrary: fc.record({ do: fc.constant('send' as const), by, type, state: fc.boolean() }), weight: 2 },
      {
        arbitrary: fc.record({ do: fc.constant('relate' as const), by, to: fc.nat(), rel, type, whole: fc.boolean() }),
        weight: 8,
      },
      { arbitrary: fc.record({ do: fc.constant('redact' as const), at: fc.nat() }), weight: 2 },
      {
        arbitrary: fc.record({ do: fc.constantFrom('wait' as const, 'read' as const, 'restart' as const) }),
        weight: 2,
      },
    );
    const versions = fc.constantFrom('1', '3', '11', '12');
    let restarts = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { minLength: 5, maxLength: 40 }),
        fc.boolean(),
        versions,
        async (actions, ignores, version) => {
          const roomId = await server.room('alice', {
            preset: 'public_chat',
            room_version: version,
            power_level_content_override: { state_default: 0 },
          });
          for (const name of PEOPLE.slice(1)) await server.join(name, roomId);
          const ids = [await server.say('alice', roomId, 'first')];
          const send = async (name: string, kind: string, content: object, isState: boolean): Promise<void> => {
            txn += 1;
            const path = isState ? `state/${kind}/k${txn}` : `send/${kind}/g${txn}`;
            const { status, body } = await server.ask(name, 'PUT', `/rooms/${roomId}/${path}`, content);
            if (status === 200) ids.push(body.event_id);
            else expect(status).to.equal(400);
          };
          const look = async (name: string): Promise<Json[]> =>
            (await server.must(name, 'GET', `/rooms/${roomId}/messages?dir=f&limit=1000`)).chunk;
          const check = async (name: string, ignored: ReadonlySet<string>): Promise<void> => {
            const all = await look('alice');
            const served = await look(name);
            const reader = idOf(name);
            for (const event of served)
              expect(brief(event.unsigned?.['m.relations']), `${name} ${event.event_id}`).to.deep.equal(
                bundleOf(event, all, reader, ignored),
              );
          };
          for (const one of actions) {
            if (one.do === 'wait') await server.clock.advance(2);
            else if (one.do === 'restart') {
              if (restarts++ < 12) await server.restart();
            } else if (one.do === 'read') await look(PEOPLE[(txn += 1) % 3] ?? '');
            else if (one.do === 'redact') {
              const target = ids[one.at % ids.length] ?? '';
              await server.must(
                'alice',
                'PUT',
                `/rooms/${roomId}/redact/${encodeURIComponent(target)}/g${(txn += 1)}`,
                {},
              );
            } else if (one.do === 'send' || one.do === 'relate') {
              const content: Json = { msgtype: 'm.text', body: `${(txn += 1)}` };
              if (one.do === 'relate') {
                const target = ids[one.to % ids.length];
                content['m.relates_to'] = { rel_type: one.rel, event_id: target, key: `${txn}` };
                if (one.whole) content['m.new_content'] = { body: 'new' };
              }
              await send(one.by, one.type, content, one.do === 'send' && one.state && one.type === 'x.y');
            }
          }
          await server.services.accountData.setByClient(idOf('carol'), 0, 'm.ignored_user_list', {
            ignored_users: ignores ? { [idOf('bob')]: {} } : {},
          });
          await check('alice', new Set());
          await check('bob', new Set());
          await check('carol', new Set(ignores ? [idOf('bob')] : []));
        },
      ),
      { numRuns: 25 },
    );
  });
});
