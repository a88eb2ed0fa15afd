import { expect } from 'chai';
import fc from 'fast-check';
import { contentHash, eventId } from '#src/protocol/events/event-hashes.ts';
import { countersigned } from '#src/protocol/events/build-pdu.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import type { Answer } from '#test/support/http.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import { json } from '#test/support/strange-json.ts';

const PAT = '@pat:p.test';
/** Random events of each room version; TEST_STRANGE_EVENTS says how many in long runs. */
const RUNS = Number(process.env['TEST_STRANGE_EVENTS'] ?? 12);
const VERSIONS = ['1', '3', '6', '10', '11', '12'];

const deep = (depth: number): JsonValue => {
  let value: JsonValue = 1;
  for (let n = 0; n < depth; n++) value = [value];
  return value;
};

describe('events that are signed as they should be, and strange', function () {
  this.timeout(RUNS > 100 ? 600_000 : 60_000);
  let federation: Federation;
  let server: InProcessServer;
  let p: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test'] });
    server = federation.server('a.test');
    p = federation.partner('p.test');
  });
  after(() => federation.stop());

  const signed = (version: RoomVersion, event: JsonObject): JsonObject => {
    const { hashes: _hashes, signatures: _signatures, ...rest } = event;
    const hashed = { ...rest, hashes: { sha256: contentHash(version, rest) } };
    return countersigned(version, hashed, { serverName: 'p.test', signingKey: p.signingKey });
  };
  const isCanonical = (body: JsonObject | undefined): boolean => {
    try {
      canonicalJson(body ?? {});
      return true;
    } catch {
      return false;
    }
  };
  const idOf = (version: RoomVersion, event: JsonObject): string => {
    try {
      // Before room version 3 it is what the event says.
      const id: unknown = eventId(version, event as unknown as Pdu);
      return typeof id === 'string' ? id.toWellFormed() : '$none:p.test';
    } catch {
      return '$none:p.test';
    }
  };
  /** What they are changed by: any of their keys to anything, or left out. */
  const changes = fc.dictionary(
    fc.constantFrom(
      'type',
      'room_id',
      'sender',
      'state_key',
      'content',
      'depth',
      'prev_events',
      'auth_events',
      'origin_server_ts',
      'redacts',
      'unsigned',
      'event_id',
      'origin',
      'msc4354_sticky',
      '__proto__x',
    ),
    fc.oneof(
      json as fc.Arbitrary<JsonValue>,
      fc.constant(undefined),
      fc.constantFrom<JsonValue>(
        deep(90),
        deep(2_000),
        'x'.repeat(70_000),
        ['$a', '$a', '$a'],
        [['$a:p.test', { sha256: 'x' }]],
        Array.from({ length: 30 }, (_, n) => `$${n}`),
        -1,
        2 ** 53,
        1.5,
        '',
        PAT,
        '@alice:a.test',
      ),
    ),
    { maxKeys: 2 },
  );
  const contents = fc.record(
    {
      membership: fc.constantFrom<JsonValue>('join', 'leave', 'invite', 'ban', 'knock', 'other', 5),
      join_authorised_via_users_server: json as fc.Arbitrary<JsonValue>,
      third_party_invite: json as fc.Arbitrary<JsonValue>,
      users: json as fc.Arbitrary<JsonValue>,
      events: json as fc.Arbitrary<JsonValue>,
      state_default: json as fc.Arbitrary<JsonValue>,
      join_rule: json as fc.Arbitrary<JsonValue>,
      allow: json as fc.Arbitrary<JsonValue>,
      history_visibility: json as fc.Arbitrary<JsonValue>,
      'm.relates_to': json as fc.Arbitrary<JsonValue>,
      deny: json as fc.Arbitrary<JsonValue>,
      via: json as fc.Arbitrary<JsonValue>,
      public_keys: json as fc.Arbitrary<JsonValue>,
      redacts: json as fc.Arbitrary<JsonValue>,
      replacement_room: json as fc.Arbitrary<JsonValue>,
      body: json as fc.Arbitrary<JsonValue>,
    },
    { requiredKeys: [] },
  );
  const types = fc.constantFrom(
    'm.room.member',
    'm.room.power_levels',
    'm.room.join_rules',
    'm.room.history_visibility',
    'm.room.third_party_invite',
    'm.room.redaction',
    'm.room.server_acl',
    'm.room.canonical_alias',
    'm.room.tombstone',
    'm.room.policy',
    'm.room.create',
    'm.room.message',
    'm.space.child',
  );
  const stateKeys = fc.constantFrom<string | undefined>(undefined, '', PAT, '@new:p.test', '@alice:a.test', 'x');

  /** Nothing of it is an error of this server, and it goes on. */
  const wasFine = async (answers: readonly Answer[], roomId: string): Promise<void> => {
    for (const { body, status } of answers) {
      expect(status, JSON.stringify(body)).to.be.below(500);
      if (status !== 200) expect(body.errcode).to.be.a('string');
    }
    await server.idle();
    const errors = server.lines.filter(({ level }) => level === 'error');
    expect(
      errors.map(
        ({ fields, message }) =>
          `${message} ${JSON.stringify(fields)} ${String((fields['err'] as Error | undefined)?.stack)}`,
      ),
    ).to.deep.equal([]);
    expect((await server.ask('alice', 'GET', `/rooms/${roomId}/state`)).status).to.equal(200);
  };

  for (const name of VERSIONS)
    it(`are answered, and keep nobody from anything, in room version ${name}`, async () => {
      const version = roomVersion(name)!;
      await fc.assert(
        fc.asyncProperty(types, stateKeys, contents, changes, async (type, stateKey, content, changed) => {
          const roomId = await server.room('alice', {
            preset: 'public_chat',
            room_version: name,
            ...(name === '12' ? {} : { power_level_content_override: { users: { '@alice:a.test': 100, [PAT]: 100 } } }),
          });
          const room = await PartnerRoom.join(server, p, roomId, [PAT]);
          const draft = room.build({
            type,
            sender: PAT,
            content: content as JsonObject,
            ...(stateKey === undefined ? {} : { stateKey }),
          });
          const merged: Record<string, JsonValue | undefined> = { ...draft.pdu, ...changed };
          for (const key of Object.keys(merged)) if (merged[key] === undefined) delete merged[key];
          let event: JsonObject;
          try {
            event = signed(version, merged as JsonObject);
          } catch {
            // What has no canonical form cannot be signed: it is sent as it is.
            event = merged as JsonObject;
          }
          const id = encodeURIComponent(idOf(version, event));
          const at = `${encodeURIComponent(roomId)}/${id}`;
          const answers: Answer[] = [];
          const send = async (method: 'PUT' | 'POST' | 'GET', path: string, body?: JsonObject): Promise<void> => {
            // The partner signs what it sends: what has no canonical form it cannot.
            if (isCanonical(body)) answers.push(await p.send('a.test', method, `/_matrix/federation/${path}`, body));
          };
          for (const one of [
            'v1/send_join',
            'v2/send_join',
            'v1/send_leave',
            'v2/send_leave',
            'v1/send_knock',
            'v1/invite',
          ])
            await send('PUT', `${one}/${at}`, event);
          await send('PUT', `v2/invite/${at}`, { event, room_version: name, invite_room_state: [event, event] });
          await send('PUT', `v1/exchange_third_party_invite/${encodeURIComponent(roomId)}`, event);
          await send('PUT', `v1/send/t${id}`, {
            origin: 'p.test',
            origin_server_ts: 1,
            pdus: [event, event],
            edus: [{ edu_type: type, content: event }],
          });
          for (const path of [
            `event/${id}`,
            `event_auth/${at}`,
            `state/${encodeURIComponent(roomId)}?event_id=${id}`,
            `state_ids/${encodeURIComponent(roomId)}?event_id=${id}`,
            `backfill/${encodeURIComponent(roomId)}?v=${id}&limit=5`,
          ])
            await send('GET', `v1/${path}`);
          await send('POST', `v1/get_missing_events/${encodeURIComponent(roomId)}`, {
            latest_events: [decodeURIComponent(id)],
            earliest_events: [],
          });
          await wasFine(answers, roomId);
        }),
        { numRuns: RUNS, endOnFailure: true },
      );
    });
});
