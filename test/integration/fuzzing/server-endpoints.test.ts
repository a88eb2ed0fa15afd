import { expect } from 'chai';
import fc from 'fast-check';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import type { Endpoint } from '#src/http/endpoint.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { Answer } from '#test/support/http.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import { type KnownThings, type RandomRequest, requestsOf } from '#test/support/random-requests.ts';

/** Requests to each endpoint. More by TSUDOI_FUZZ_RUNS, others by TSUDOI_FUZZ_SEED. */
const RUNS = Number(process.env['TSUDOI_FUZZ_RUNS'] ?? 8);
const SEED = Number(process.env['TSUDOI_FUZZ_SEED'] ?? 20_261_129);
const SECRET = 'secret-of-the-victim';

/** Statuses from 500 on that say what the specification says: nothing is broken. */
const MEANT = new Set(['M_NOT_YET_UPLOADED', 'M_CONNECTION_FAILED', 'M_CONNECTION_TIMEOUT']);

describe('endpoints for other servers that are asked at random', function () {
  this.timeout(600_000);
  let federation: Federation;
  let server: InProcessServer;
  let things: KnownThings;
  let privateRoom: string;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test'] });
    server = federation.server('a.test');
    things = await secrets();
  });
  after(() => federation?.stop());

  /** A room that the partner is in, one that it may not know of, and the names of all that is there. */
  const secrets = async (): Promise<KnownThings> => {
    const shared = await server.room('alice', { preset: 'public_chat', room_alias_name: 'shared' });
    const room = await PartnerRoom.join(server, federation.partner('p.test'), shared, ['@x:p.test']);
    const said = await server.say('alice', shared, 'hello');
    await room.catchUp();
    privateRoom = await server.room('alice', { name: SECRET, topic: SECRET });
    const hidden = await server.say('alice', privateRoom, SECRET);
    const { event_id: join } = { event_id: room.stateEvent('m.room.member', '@x:p.test') ?? '' };
    const rooms = [shared, privateRoom, '!nowhere:p.test'];
    const events = [said, hidden, join, '$nothing'];
    const users = ['@alice:a.test', '@x:p.test', '@nobody:a.test'];
    return {
      roomId: rooms,
      room_id: rooms,
      eventId: events,
      event_id: events,
      earliest_events: events,
      latest_events: events,
      prev_events: events,
      auth_events: events,
      v: events,
      userId: users,
      user_id: users,
      sender: users,
      state_key: users,
      room_alias: ['#shared:a.test', '#nothing:a.test'],
      type: ['m.room.member', 'm.room.message', 'm.room.create'],
      membership: ['join', 'leave', 'invite', 'knock', 'ban'],
      txnId: ['1', '2'],
      mediaId: ['nothing'],
      keyId: ['ed25519:1'],
      serverName: ['a.test', 'p.test'],
      origin: ['p.test', 'a.test'],
      edu_type: [
        'm.typing',
        'm.receipt',
        'm.presence',
        'm.device_list_update',
        'm.direct_to_device',
        'm.signing_key_update',
      ],
      room_version: ['1', '11', '12', 'x'],
      ver: ['1', '11', '12', 'x'],
      dir: ['b', 'f'],
      queryType: ['profile', 'directory', 'x'],
    };
  };

  /** Sends a request that is signed as far as it can be: what is no JSON object cannot. */
  const answerTo = async ({ method, path, body }: RandomRequest): Promise<Answer> => {
    const content = contentOf(body);
    const sent = body === undefined || content !== undefined ? {} : { raw: textOf(body) };
    const work = federation.partner('p.test').send('a.test', method as 'GET', path, content, sent);
    // Nobody waits for anything that comes later.
    await federation.clock.runDueUntil(work.then(() => undefined));
    return work;
  };

  const ofServers = ENDPOINTS.filter(({ auth }) => auth === 'server');

  for (const endpoint of ofServers)
    it(`${endpoint.method} ${endpoint.path} breaks at nothing, and tells nothing of rooms that the server is not in`, async () => {
      await fc.assert(
        fc.asyncProperty(requestsOf(endpoint as Endpoint, things), async (request) => {
          const { status, body } = await answerTo(request);
          const text = typeof body === 'string' ? body : JSON.stringify(body);
          const isMeant = status < 500 || MEANT.has(body.errcode as string);
          expect(
            isMeant,
            `${request.method} ${request.path} ${textOf(request.body)}: ${status} ${text.slice(0, 500)}`,
          ).to.equal(true);
          expect(text).not.to.include(SECRET);
        }),
        { numRuns: RUNS, seed: SEED, endOnFailure: true },
      );
    });

  it('have left the rooms as they were, and the server serving', async () => {
    const { chunk } = await server.must('alice', 'GET', `/rooms/${privateRoom}/members`);
    expect(chunk).to.have.length(1);
    await server.idle();
    expect(server.lines.filter(({ level }) => level === 'error')).to.deep.equal([]);
  });
});

const textOf = (body: RandomRequest['body']): string =>
  typeof body === 'string' ? body : Buffer.from(body ?? '').toString('latin1');

/** A body that can be signed; undefined for what has no canonical form. */
const contentOf = (body: RandomRequest['body']): JsonObject | undefined => {
  if (typeof body !== 'string') return undefined;
  try {
    const value: unknown = JSON.parse(body);
    if (!isJsonObject(value)) return undefined;
    canonicalJson(value, 'lenient');
    return value;
  } catch {
    return undefined;
  }
};
