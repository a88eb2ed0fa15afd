import { expect } from 'chai';
import type { Json } from '#test/support/in-process-server.ts';
import { sql } from '#src/storage/statement.ts';
import { SearchServer } from './search-server.ts';

const MESSAGES = 25_000;

/** The room's past: the oldest of its messages is the only one with 猫. */
const PAST = sql(
  'test_long_past',
  `insert into events (room, nid, topo, event_id, type, sender, ts, state, prev, auth, flags, json)
   select e.room, -(i * 16 + $2), 1, decode(md5(i::text) || md5((-i)::text), 'hex'), e.type, e.sender, e.ts - i, e.state, '{}', '{}', 0,
     json_build_object('type', 'm.room.message', 'sender', '@anna:test', 'origin_server_ts', e.ts - i, 'depth', 1,
       'content', json_build_object('msgtype', 'm.text', 'body', case when i = $4 then '黒い猫' else '天気がいい ' || i end),
       'prev_events', '[]'::json, 'auth_events', '[]'::json, 'hashes', '{}'::json, 'signatures', '{}'::json)::text
   from events e cross join generate_series(1, $4::int) i where e.room = $1 and e.nid = $3`,
);
const PAST_DOCS = sql(
  'test_long_past_docs',
  `insert into search_docs select room, ts, nid, '{1}' from events where room = $1 and nid < 0`,
);

describe('searching for a single character', function () {
  this.timeout(120_000);

  it('leads to the only match at the beginning of a long room within a few pages, in that room and in all', async () => {
    const server = await SearchServer.start();
    try {
      const { rooms, database } = server.rooms.services;
      const roomIds: string[] = [];
      for (let n = 0; n < 5; n++) {
        const roomId = await server.rooms.room('anna', { preset: 'public_chat' });
        await server.rooms.say('anna', roomId, 'はじめ');
        roomIds.push(roomId);
      }
      await server.idle();
      const room = (await rooms.byId(roomIds[0]!))!;
      await database.query(PAST, [room.nid, room.shard, room.lastPosition, MESSAGES]);
      await database.query(PAST_DOCS, [room.nid]);
      for (const filter of [{ rooms: [room.roomId] }, {}]) {
        const found: string[] = [];
        let nextBatch: string | undefined;
        let pages = 0;
        do {
          const page: Json = await server.find('anna', '猫', { filter }, nextBatch);
          found.push(...page.results.map(({ result }: Json) => result.content.body));
          nextBatch = page.next_batch;
          pages++;
        } while (nextBatch !== undefined && pages < 10);
        expect(found).to.deep.equal(['黒い猫']);
        expect(pages).to.be.at.most(3);
        expect(nextBatch).to.equal(undefined);
      }
    } finally {
      await server.stop();
    }
  });
});
