/**
 * State resolution of a large fork: 5 000 members whose membership differs between two states, after 200 changes of power levels.
 * Prints milliseconds; exit code 1 above 300 ms of processor time, which does not depend on other load.
 * `node bench/state-resolution.ts [members]`
 */
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import {
  finishResolution,
  prepareResolution,
  resolveLargeState,
} from '#src/protocol/state/packed/resolve-large-state.ts';
import { resolvePacked } from '#src/protocol/state/packed/resolve-packed.ts';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { keyOfEvent } from '#src/protocol/state/state-map.ts';
import type { StateMap, StateResolutionAccess } from '#src/protocol/state/state-map.ts';

const FLOOR_MS = 300;
const TARGET_MS = 80;
const RUNS = 15;
const MODERATORS = 100;
const CREATOR = '@creator:a';

interface LargeFork {
  readonly stateSets: readonly StateMap<number>[];
  readonly access: StateResolutionAccess<number>;
}

/** Events are named by integers, as the store names them. */
function largeFork(version: RoomVersion, members: number): LargeFork {
  const events: IdentifiedPdu[] = [];
  const authEvents: number[][] = [];
  const roomId = version.roomIdIsCreateHash ? '!create' : '!room:a';
  const add = (
    type: string,
    sender: string,
    stateKey: string,
    content: JsonObject,
    auth: readonly number[],
  ): number => {
    const number = events.length;
    const pdu: Pdu = {
      type,
      sender,
      state_key: stateKey,
      content,
      origin_server_ts: 1_700_000_000_000 + ((number * 7919) % 1000),
      depth: number,
      prev_events: number === 0 ? [] : [`$${number - 1}`],
      auth_events: [],
      hashes: {},
      signatures: {},
      ...(number === 0 && version.roomIdIsCreateHash ? {} : { room_id: roomId }),
    };
    events.push({
      eventId: number === 0 ? '$create' : `$${((number * 2654435761) >>> 0).toString(36)}-${number}`,
      pdu,
    });
    authEvents.push([...(version.auth.createEventSelected && number > 0 ? [0] : []), ...auth]);
    return number;
  };
  const user = (i: number): string => `@user${i}:server${i % 50}`;
  const creation = version.auth.implicitCreator ? {} : { creator: CREATOR };
  add('m.room.create', CREATOR, '', { room_version: version.id, ...creation }, []);
  const creator = add('m.room.member', CREATOR, CREATOR, { membership: 'join' }, []);
  const users: Record<string, number> = version.auth.privilegedCreators ? {} : { [CREATOR]: 100 };
  let levels = add('m.room.power_levels', CREATOR, '', { users: { ...users } }, [creator]);
  const rules = add('m.room.join_rules', CREATOR, '', { join_rule: 'public' }, [levels, creator]);
  const joins = new Map<number, number>();
  for (let i = 0; i < members; i++) {
    const name = user(i);
    let join = add('m.room.member', name, name, { membership: 'join' }, [levels, rules]);
    // A new profile now and then makes the auth chains longer.
    if (i % 3 === 0)
      join = add('m.room.member', name, name, { membership: 'join', displayname: 'A' }, [levels, rules, join]);
    joins.set(i, join);
    if (i % Math.ceil(members / 200) !== 0) continue;
    if (Object.keys(users).length < MODERATORS) users[name] = 50;
    levels = add('m.room.power_levels', CREATOR, '', { users: { ...users }, events: { 'x.y': i } }, [levels, creator]);
  }
  const common = new Map<string, number>();
  for (const [number, event] of events.entries()) common.set(keyOfEvent(event), number);
  const forks = [0, 1].map((fork) => {
    const state = new Map(common);
    let current = levels;
    const put = (
      type: string,
      sender: string,
      stateKey: string,
      content: JsonObject,
      auth: readonly number[],
    ): number => {
      const number = add(type, sender, stateKey, content, auth);
      state.set(keyOfEvent(events[number]!), number);
      return number;
    };
    for (let i = 0; i < members; i++) {
      const name = user(i);
      const join = joins.get(i) ?? 0;
      if (i % 500 === 499) {
        const content = { users: { ...users }, events: { 'x.y': i + fork } };
        current = put('m.room.power_levels', CREATOR, '', content, [current, creator]);
      }
      // One fork bans every tenth user, the other lets everybody change their profile.
      if (fork === 0 && i % 10 === 9 && users[name] === undefined) {
        put('m.room.member', CREATOR, name, { membership: 'ban' }, [current, creator, join]);
      } else {
        put('m.room.member', name, name, { membership: 'join', displayname: `${fork}` }, [current, rules, join]);
      }
    }
    return state;
  });
  const access: StateResolutionAccess<number> = {
    create: 0,
    event: (id) => events[id],
    authEvents: (id) => authEvents[id] ?? [],
  };
  return { stateSets: forks, access };
}

const median = (times: number[]): number => times.sort((x, y) => x - y)[times.length >> 1] ?? 0;
const ms = (value: number): string => value.toFixed(1).padStart(7);

const members = Number(process.argv[2] ?? 5000);
let worst = 0;
{
  const { stateSets, access } = largeFork(roomVersion('1')!, members);
  const times: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const start = process.cpuUsage();
    resolveLargeState(roomVersion('1')!, stateSets, access);
    const cpu = process.cpuUsage(start);
    times.push((cpu.user + cpu.system) / 1000);
  }
  const cpu = median(times);
  worst = Math.max(worst, cpu);
  process.stdout.write(`v1   ${members} conflicted members: ${ms(cpu)} of processor time (ms)\n`);
}
for (const id of ['10', '12']) {
  const version = roomVersion(id)!;
  const { stateSets, access } = largeFork(version, members);
  const times = {
    prepare: [] as number[],
    resolve: [] as number[],
    finish: [] as number[],
    total: [] as number[],
    cpu: [] as number[],
  };
  let result: StateMap<number> = new Map();
  let full = 0;
  for (let run = 0; run < RUNS; run++) {
    const cpuStart = process.cpuUsage();
    const start = performance.now();
    const prepared = prepareResolution(version, stateSets, access)!;
    const packed = performance.now();
    const resolved = resolvePacked(prepared.packing.packed);
    const decided = performance.now();
    result = finishResolution(prepared, resolved);
    const end = performance.now();
    const cpu = process.cpuUsage(cpuStart);
    full = prepared.packing.packed.fullCount;
    times.prepare.push(packed - start);
    times.resolve.push(decided - packed);
    times.finish.push(end - decided);
    times.total.push(end - start);
    times.cpu.push((cpu.user + cpu.system) / 1000);
  }
  const first = times.total[0] ?? 0;
  const slowest = Math.max(...times.total);
  const cpu = median(times.cpu);
  worst = Math.max(worst, cpu);
  const plainStart = performance.now();
  const plain = resolveState(version, stateSets, access);
  const plainTime = performance.now() - plainStart;
  const large = resolveLargeState(version, stateSets, access);
  const agrees = [plain, large].every(
    (other) => other.size === result.size && [...result].every(([k, v]) => other.get(k) === v),
  );
  process.stdout.write(
    `${version.stateResolution.padEnd(4)} ${members} conflicted members, ${full} events in the full conflicted set (ms)\n` +
      `  typed arrays: median ${ms(median(times.total))}  (pack ${ms(median(times.prepare))}, resolve ${ms(median(times.resolve))}, ` +
      `unpack ${ms(median(times.finish))}), of processor time ${ms(cpu)}; first ${ms(first)}, slowest ${ms(slowest)}\n` +
      `  plain:        ${ms(plainTime)}  ${agrees ? 'same result' : 'ANOTHER RESULT'}\n`,
  );
  if (!agrees) process.exitCode = 1;
}
process.stdout.write(`${ms(worst)} ms of processor time; at most ${FLOOR_MS}, aimed at ${TARGET_MS}\n`);
if (worst > FLOOR_MS) process.exitCode = 1;
