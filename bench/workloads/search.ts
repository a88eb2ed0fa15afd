import { randomBytes } from 'node:crypto';
import { Chatter } from '../load/chatter.ts';
import { HttpConnection, requestText } from '../load/http.ts';
import { Crowd, type Person, UnexpectedAnswer } from '../load/people.ts';
import type { BenchServer } from '../server.ts';
import { lower, percentile, type Workload } from '../workload.ts';

const ROOMS = 50;
/** Of all messages, how many are in the largest room. */
const LARGEST_SHARE = 0.2;
const ROWS_AT_ONCE = 4_000;
const SHARDS = 16;
/** Flag of events that notify. */
const NOTIFIES = 16;
const FREQUENT = ['東京', '大阪', '鎌倉'];

interface Target {
  readonly roomId: string;
  readonly room: number;
  readonly shard: number;
  readonly state: number;
  readonly messages: number;
}

/** Puts messages into the tables as if they had been sent, one batch a statement. */
async function load(
  server: BenchServer,
  { roomId, room, shard, state, messages }: Target,
  sender: Person,
  chatter: Chatter,
  startTs: number,
  say: (count: number) => void,
): Promise<void> {
  const [at] = await server.sql<{ seq: string; depth: string; type: number; sender: number }>(
    `select s.seq, t.depth, (select nid from strings where s = 'm.room.message') as type,
       (select nid from users where user_id = $3) as sender
     from shards s, room_tail t where s.id = $1 and t.room = $2`,
    [shard, room, sender.userId],
  );
  if (at === undefined) throw new Error(`room ${roomId} is not in the database`);
  let depth = Number(at.depth);
  // The server still counts for itself while it runs: room for what it may write meanwhile.
  let seq = Number(at.seq) + 1_000;
  for (let done = 0; done < messages;) {
    const count = Math.min(ROWS_AT_ONCE, messages - done);
    const rows = Array.from({ length: count }, (_, i) => {
      const ts = startTs + (done + i) * 1_000;
      const pdu = {
        auth_events: [],
        content: { body: chatter.sentence(), msgtype: 'm.text' },
        depth: depth + i + 1,
        hashes: { sha256: 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' },
        origin_server_ts: ts,
        prev_events: [],
        room_id: roomId,
        sender: sender.userId,
        signatures: {},
        type: 'm.room.message',
      };
      return {
        nid: (seq + i + 1) * SHARDS + shard,
        topo: depth + i + 1,
        id: randomBytes(32),
        ts,
        json: JSON.stringify(pdu),
      };
    });
    await server.sql(
      `insert into events (room, nid, topo, event_id, type, sender, ts, state, prev, auth, flags, json)
       select $1, e.nid, e.topo, e.id, $2, $3, e.ts, $4, '{}', '{}', ${NOTIFIES}, e.json
       from unnest($5::bigint[], $6::bigint[], $7::bytea[], $8::bigint[], $9::text[]) e(nid, topo, id, ts, json)`,
      [
        room,
        at.type,
        at.sender,
        state,
        rows.map((row) => row.nid),
        rows.map((row) => row.topo),
        rows.map((row) => row.id),
        rows.map((row) => row.ts),
        rows.map((row) => row.json),
      ],
    );
    done += count;
    depth += count;
    seq += count;
    say(count);
  }
  const last = seq * SHARDS + shard;
  await server.sql('update room_tail set extremities = $2, depth = $3, last_pos = $4 where room = $1', [
    room,
    [last],
    depth,
    last,
  ]);
  await server.sql('update shards set seq = greatest(seq, $2) where id = $1', [shard, seq]);
}

/** Somebody looks for a word of two characters in what was said. */
export const search: Workload = {
  id: 'search',
  title: 'Searching Japanese messages',
  limitSeconds: 600,
  figures: [
    { id: 'search.index', title: 'messages indexed for search', unit: '/s' },
    { id: 'search.index-size', title: 'index and its rows, per message', unit: 'bytes' },
    {
      id: 'search.room',
      title: 'two characters in one large room, the slowest of three words',
      unit: 'ms',
      goal: lower(20, 10),
    },
    {
      id: 'search.all',
      title: `two characters in all ${ROOMS} rooms, the slowest of three words`,
      unit: 'ms',
      goal: lower(150, 50),
    },
    { id: 'search.room-rank', title: 'search in one room, the best first', unit: 'ms', goal: lower(100, 40) },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 8);
    const connection = new HttpConnection(server.endpoint);
    try {
      const total = pick(500_000, 40_000);
      progress(`making ${ROOMS} rooms`);
      const [person] = await crowd.people(1);
      if (person === undefined) throw new Error('nobody could be registered');
      const roomIds = await Promise.all(Array.from({ length: ROOMS }, () => crowd.createRoom(person)));
      await crowd.message(person, roomIds[0]!, 'はじめに', 'first');
      const known = await server.sql<{ roomId: string; room: number; shard: number; state: string }>(
        `select r.room_id as "roomId", r.nid as room, r.shard, t.state from rooms r join room_tail t on t.room = r.nid
         where r.room_id = any($1)`,
        [roomIds],
      );
      const chatter = new Chatter(20_261_123);
      let loaded = 0;
      const say = (count: number): void => {
        loaded += count;
        progress(`${loaded} of ${total} messages in the tables`);
      };
      const startTs = Date.now() - total * 1_000;
      const large = roomIds[0]!;
      for (const one of known) {
        const messages = Math.round(
          one.roomId === large ? total * LARGEST_SHARE : (total * (1 - LARGEST_SHARE)) / (ROOMS - 1),
        );
        await load(server, { ...one, state: Number(one.state), messages }, person, chatter, startTs, say);
      }
      await server.sql('analyze events');
      progress('restart; the server finds what it has not taken in');
      connection.close();
      crowd.close();
      await server.restart();
      const indexed = async (): Promise<number> =>
        Number((await server.sql<{ n: string }>('select count(*) as n from search_docs'))[0]?.n);
      const started = performance.now();
      const before = await indexed();
      let now = before;
      // The rooms' last messages come last.
      while (now < loaded) {
        await new Promise((resolve) => setTimeout(resolve, 500));
        now = await indexed();
        progress(`${now} of ${loaded} messages in the index`);
      }
      report('search.index', (now - before) / ((performance.now() - started) / 1_000));
      await server.sql('vacuum analyze search_docs');
      const [size] = await server.sql<{ bytes: string }>(`select pg_total_relation_size('search_docs') as bytes`);
      report('search.index-size', Number(size?.bytes) / now);

      const ask = async (term: string, rooms: readonly string[] | undefined, orderBy: string): Promise<number> => {
        const filter = { limit: 10, ...(rooms === undefined ? {} : { rooms }) };
        const body = { search_categories: { room_events: { search_term: term, order_by: orderBy, filter } } };
        const start = performance.now();
        const answer = await connection.send(requestText('POST', '/_matrix/client/v3/search', person.token, body));
        const took = performance.now() - start;
        if (answer.status !== 200) throw new UnexpectedAnswer('a search', answer);
        const found = JSON.parse(answer.body.toString()) as {
          search_categories: { room_events: { results: readonly unknown[] } };
        };
        const { results } = found.search_categories.room_events;
        if (results.length === 0 && term !== '鎌倉') throw new Error(`nothing was found for ${term}`);
        return took;
      };
      const scenes = [
        ['search.room', [large], 'recent'],
        ['search.all', undefined, 'recent'],
        ['search.room-rank', [large], 'rank'],
      ] as const;
      for (const [id, rooms, orderBy] of scenes) {
        const medians = new Map<string, number>();
        const { cost } = await meter.during(id, async () => {
          let operations = 0;
          for (const term of FREQUENT) {
            progress(`${id}: ${term}`);
            for (let i = 0; i < 3; i += 1) await ask(term, rooms, orderBy);
            const times: number[] = [];
            for (let i = 0; i < pick(30, 10); i += 1) times.push(await ask(term, rooms, orderBy));
            medians.set(term, percentile(times, 0.5));
            operations += times.length + 3;
          }
          return { operations };
        });
        const note = Array.from(medians, ([term, ms]) => `${term} ${ms.toFixed(1)}`).join(', ');
        report(id, Math.max(...medians.values()), cost, `${loaded} messages: ${note}`);
      }
    } finally {
      connection.close();
      crowd.close();
    }
  },
};
