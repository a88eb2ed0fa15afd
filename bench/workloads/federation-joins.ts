import { readFile } from 'node:fs/promises';
import { systemRandom } from '#src/kernel/random.ts';
import { AUTHORITY_FILE } from '#test/support/federation/federation-fetch.ts';
import { JoinableRoom } from '#test/support/federation/joinable-room.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { RemotePartner } from '#test/support/federation/remote-partner.ts';
import { Crowd } from '../load/people.ts';
import { lower, type Workload } from '../workload.ts';

const PARTNER = 'p.test';
const SIZES = [5_000, 50_000] as const;

/** Peak resident memory of a process, in MiB. */
const peakOf = async (pid: number): Promise<number> => {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? Number.NaN) / 1024;
};

/** A room of a scripted server with so many members, and the answer of `send_join` as it goes over the wire. */
const roomOf = (partner: RemotePartner, members: number): JoinableRoom => {
  const room = new JoinableRoom(partner, '10');
  for (let index = 0; index < members; index++) {
    const userId = `@member${index}:${PARTNER}`;
    room.add({
      type: 'm.room.member',
      sender: userId,
      stateKey: userId,
      content: { membership: 'join', displayname: `Member number ${index}`, avatar_url: `mxc://${PARTNER}/${index}` },
    });
  }
  const answer = Buffer.from(JSON.stringify(room.joinAnswer()));
  room.serveJoins(() => answer);
  servePartially(room, answer);
  return room;
};

/** Lets the partner leave the members out where that is asked for, and tell them afterwards. */
const servePartially = (room: JoinableRoom, whole: Buffer): void => {
  const path = encodeURIComponent(room.roomId);
  const others = [...room.state.values()].filter(({ pdu }) => pdu.type !== 'm.room.member').map(({ pdu }) => pdu);
  const creator = [...room.events.values()].find(({ pdu }) => pdu.state_key === room.creator)?.pdu;
  const parts = {
    members_omitted: true,
    servers_in_room: [PARTNER],
    state: others,
    auth_chain: [...others, ...(creator === undefined ? [] : [creator])],
  };
  const part = Buffer.from(JSON.stringify(parts));
  room.partner.on('PUT', `/_matrix/federation/v2/send_join/${path}/*`, ({ query }) => ({
    body: query.get('omit_members') === 'true' ? part : whole,
  }));
  room.partner.on('GET', `/_matrix/federation/v1/state/${path}`, () => ({ body: whole }));
};

/** Until who is in a room is known, and how long that took from a moment on, in seconds. */
const wholeAfter = async (url: string, roomId: string, token: string, begun: number): Promise<number> => {
  const path = `${url}/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/joined_members`;
  for (;;) {
    const answer = await fetch(path, { headers: { authorization: `Bearer ${token}` } });
    await answer.arrayBuffer();
    if (answer.status === 200) return (performance.now() - begun) / 1000;
    if (answer.status !== 503) throw new Error(`the members were answered ${answer.status}`);
  }
};

/** Joins of large rooms through another server: with all of their state, and before their members are known. */
export const federationJoins: Workload = {
  id: 'federation-joins',
  title: 'Joining rooms of other servers',
  limitSeconds: 240,
  figures: SIZES.flatMap((members) => [
    {
      id: `federation-joins.${members}.seconds`,
      title: `a room of ${members} members, all of its state`,
      unit: 's',
      goal: members === 50_000 ? lower(20, 10) : lower(4, 1.5),
    },
    {
      id: `federation-joins.${members}.usable`,
      title: `partial join of ${members} members: until a message is sent`,
      unit: 's',
      goal: lower(3, 2),
    },
    {
      id: `federation-joins.${members}.whole`,
      title: `partial join of ${members} members: until the full state is here`,
      unit: 's',
      goal: members === 50_000 ? lower(30, 15) : lower(6, 3),
    },
    {
      id: `federation-joins.${members}.memory`,
      title: `partial join of ${members} members: peak resident memory`,
      unit: 'MiB',
      goal: members === 50_000 ? lower(600, 450) : lower(450, 350),
    },
  ]),
  async run({ server, meter, pick, progress, report }) {
    const clock = new ManualClock(Date.now());
    const partner = await RemotePartner.start({ serverName: PARTNER, clock }, () => server.url);
    const crowd = new Crowd(server.endpoint, 1);
    try {
      // All of them first: while they are made, the partner answers nobody.
      const rooms = SIZES.slice(0, pick(2, 1)).map((members) => {
        progress(`making a room of ${members} members`);
        return [members, roomOf(partner, members)] as const;
      });
      const again = SIZES.slice(0, pick(2, 1)).map((members) => [members, roomOf(partner, members)] as const);
      const restart = (faster: boolean): Promise<unknown> =>
        server.restart({
          TSUDOI_FEDERATION__STATIC_HOSTS: JSON.stringify({ [PARTNER]: `127.0.0.1:${partner.port}` }),
          TSUDOI_FEDERATION__TRUSTED_CA_FILES: JSON.stringify([AUTHORITY_FILE]),
          TSUDOI_FEDERATION__ALLOW_IP_RANGES: JSON.stringify(['127.0.0.0/8']),
          TSUDOI_FEDERATION__FASTER_JOINS: String(faster),
        });
      await restart(false);
      const { token } = await crowd.register(`joiner${systemRandom.string(6).toLowerCase()}`);
      const ask = async (method: string, path: string, body: object): Promise<void> => {
        const answer = await fetch(`${server.url}/_matrix/client/v3${path}`, {
          method,
          headers: { authorization: `Bearer ${token}` },
          body: JSON.stringify(body),
        });
        if (answer.status !== 200) throw new Error(`${path} was answered ${answer.status}: ${await answer.text()}`);
        await answer.arrayBuffer();
      };
      const join = (room: JoinableRoom): Promise<void> =>
        ask('POST', `/join/${encodeURIComponent(room.roomId)}?via=${PARTNER}`, {});
      for (const [members, room] of rooms) {
        progress(`joining a room of ${members} members`);
        const { result, cost } = await meter.during(`join ${members}`, async () => {
          const begun = performance.now();
          await join(room);
          return { seconds: (performance.now() - begun) / 1000, operations: 1 };
        });
        report(`federation-joins.${members}.seconds`, result.seconds, cost);
        report(`federation-joins.${members}.memory`, await peakOf(server.pid));
      }
      await restart(true);
      for (const [members, room] of again) {
        progress(`joining a room of ${members} members before they are known`);
        const begun = performance.now();
        await join(room);
        const said = { msgtype: 'm.text', body: 'already here' };
        await ask('PUT', `/rooms/${encodeURIComponent(room.roomId)}/send/m.room.message/said${members}`, said);
        report(`federation-joins.${members}.usable`, (performance.now() - begun) / 1000);
        report(`federation-joins.${members}.whole`, await wholeAfter(server.url, room.roomId, token, begun));
      }
    } finally {
      crowd.close();
      await partner.stop();
    }
  },
};
