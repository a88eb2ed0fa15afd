import { systemClock } from '#src/kernel/clock.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { buildPdu } from '#src/protocol/events/build-pdu.ts';
import { eventReference } from '#src/protocol/events/event-hashes.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { StateStore } from '#src/services/room-model/state/state-store.ts';
import { Database } from '#src/storage/database.ts';
import { sql } from '#src/storage/statement.ts';
import { syncRequest, syncWorld, type SyncWorld } from '#test/services/sync/engine/sync-world.ts';
import { ALICE, makeRoom, membership, SERVER, topic } from '#test/support/event-services.ts';
import { lower, percentile, type Workload } from '../workload.ts';

const MEMBERS = 'members';
const signingKey = generateSigningKey((count) => systemRandom.bytes(count));
const STATES = sql('bench_states', 'select nid from state_delta where room = $1 order by random() limit $2');
const SIZES = sql(
  'bench_state_sizes',
  `select pg_total_relation_size('state_delta')::float8 as states, pg_total_relation_size('events')::float8 as events,
     pg_table_size('state_delta')::float8 as rows_only, pg_indexes_size('state_delta')::float8 as indexes,
     (select count(*)::int from events where skey is not null) as changes,
     (select max(case when length(chain) = 0 then 1 else 1 + (length(chain) - 1) / get_byte(chain, 0) end) from state_delta) as rows`,
);

interface Sizes {
  readonly states: number;
  readonly events: number;
  readonly rows_only: number;
  readonly indexes: number;
  readonly changes: number;
  readonly rows: number;
}

const shares = ({ changes, indexes, rows_only: rows }: Sizes): string =>
  `${changes} state changes: rows ${Math.round(rows / changes)}, indexes ${Math.round(indexes / changes)}`;

/** An event of another server's user, built on some events of the room. */
async function remoteEvent(world: SyncWorld, room: Room, sender: string, name: string, prev: readonly StoredEvent[]) {
  const subject = {
    type: 'm.room.member',
    sender,
    state_key: sender,
    content: { membership: 'join', displayname: name },
  };
  const auth = await Promise.all(
    authEventKeysFor(room.version, subject).map(async ([type, key]) => {
      const slot = room.headState(type, key);
      return slot === undefined ? undefined : (slot.event ?? (await world.loader.one(room, slot.nid)));
    }),
  );
  const reference = (event: StoredEvent) => eventReference(room.version, event.eventId, event.pdu);
  return buildPdu(
    room.version,
    {
      type: subject.type,
      sender,
      stateKey: sender,
      content: subject.content,
      roomId: room.roomId,
      originServerTs: systemClock.now(),
      depth: room.headDepth + 1,
      prevEvents: prev.map(reference),
      authEvents: auth.filter((event) => event !== undefined).map(reference),
    },
    { serverName: 'elsewhere.example', signingKey },
  );
}

/**
 * What a large room with a forked history costs. Other servers cannot be spoken to over a loopback port, so the services run in
 * this process, on a database of their own next to the server's.
 */
export const forkedRoom: Workload = {
  id: 'forked-room',
  title: 'A large room with forks',
  limitSeconds: 300,
  figures: [
    {
      id: 'forked-room.state-bytes',
      title: 'database bytes of states per state change',
      unit: 'bytes',
      goal: lower(300, 220),
    },
    { id: 'forked-room.event-bytes', title: 'database bytes of events per state change', unit: 'bytes' },
    { id: 'forked-room.rows', title: 'rows read for a state, at most', unit: '', goal: lower(8, 8) },
    { id: 'forked-room.rebuild', title: 'time to rebuild any state, p50', unit: 'ms' },
    { id: 'forked-room.rebuild-p99', title: 'time to rebuild any state, p99', unit: 'ms' },
    { id: 'forked-room.receive', title: 'time to accept an event on a fork, p50', unit: 'ms' },
    { id: 'forked-room.first-sync', title: 'first sync of the room, cold', unit: 'ms' },
  ],
  async run({ server, pick, progress, report }) {
    await server.sql('create database forked_room');
    const url = await server.databaseUrl('forked_room');
    const database = await Database.open({ url, logger: silentLogger, metrics: noMetrics });
    try {
      await database.migrate();
      const world = await syncWorld(database);
      const receiver = world.receiver;
      const room = await makeRoom(world, ALICE);
      const members = pick(5_000, 500);
      const changes = pick(20_000, 2_000);
      const user = (i: number): string => `@user${i}:${i % 4 === 0 ? 'elsewhere.example' : SERVER}`;
      const received: number[] = [];
      for (let at = 0; at < changes; at += 100) {
        progress(`${at} of ${changes} state changes, ${Math.min(at, members)} ${MEMBERS}`);
        const locals = Array.from({ length: 92 }, (_, i) => (at + i) % members).filter((i) => i % 4 !== 0);
        await world.events.sendAll(
          room,
          locals.map((i) => membership(user(i), user(i), 'join', { displayname: `${at}` })),
        );
        await world.events.send(room, topic(ALICE, `${at}`));
        // Events of another server on three branches; the next local event merges them.
        const { extremities } = room.head;
        const foreign = Array.from({ length: 30 }, (_, i) => ((at + i * 4) % members) - ((at + i * 4) % 4));
        const built = await Promise.all(foreign.map((i) => remoteEvent(world, room, user(i), `${at}`, extremities)));
        for (const [i, event] of built.entries()) {
          const start = performance.now();
          if (i < 3) await receiver.receive(room, event);
          else {
            const [head] = room.head.extremities.slice(-1);
            await receiver.receive(
              room,
              await remoteEvent(world, room, event.pdu.sender, `${at}`, i % 10 === 0 ? room.head.extremities : [head!]),
            );
          }
          received.push(performance.now() - start);
        }
      }
      await database.query(sql('bench_checkpoint', 'checkpoint'));
      const [sizes] = await database.query<Sizes>(SIZES);
      report('forked-room.state-bytes', sizes!.states / sizes!.changes, undefined, shares(sizes!));
      report('forked-room.event-bytes', sizes!.events / sizes!.changes);
      report('forked-room.rows', sizes!.rows);
      report(
        'forked-room.receive',
        percentile(received, 0.5),
        undefined,
        `p99 ${percentile(received, 0.99).toFixed(1)} ms`,
      );
      progress('rebuilding states');
      const times: number[] = [];
      for (const { nid } of await database.query<{ nid: number }>(STATES, [room.nid, 300])) {
        const start = performance.now();
        const chain = await new StateStore(database).get(nid);
        chain.members();
        chain.others();
        times.push(performance.now() - start);
      }
      report('forked-room.rebuild', percentile(times, 0.5));
      report('forked-room.rebuild-p99', percentile(times, 0.99));
      const cold = await syncWorld(database);
      const start = performance.now();
      const { body } = await cold.sync.sync(syncRequest(user(1), undefined, { state: { lazy_load_members: true } }));
      report(
        'forked-room.first-sync',
        performance.now() - start,
        undefined,
        `${body.length} bytes, ${room.joinedCount} ${MEMBERS}`,
      );
    } finally {
      await database.close();
    }
  },
};
