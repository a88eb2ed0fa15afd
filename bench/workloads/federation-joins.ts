import { readFile } from 'node:fs/promises';
import { systemRandom } from '#src/kernel/random.ts';
import { AUTHORITY_FILE } from '#test/support/federation-fetch.ts';
import { JoinableRoom } from '#test/support/joinable-room.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { RemotePartner } from '#test/support/remote-partner.ts';
import { Crowd } from '../load/people.ts';
import { lower, type Workload } from '../workload.ts';

const PARTNER = 'p.test';
const SIZES = [5_000, 50_000] as const;

/** The most memory that a process has had so far, in MiB. */
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
  return room;
};

/** Joins of large rooms through another server, with all of their state. */
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
      id: `federation-joins.${members}.memory`,
      title: `the same: the most memory that the server has had by then`,
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
      await server.restart({
        TSUDOI_FEDERATION__STATIC_HOSTS: JSON.stringify({ [PARTNER]: `127.0.0.1:${partner.port}` }),
        TSUDOI_FEDERATION__TRUSTED_CA_FILES: JSON.stringify([AUTHORITY_FILE]),
        TSUDOI_FEDERATION__ALLOW_IP_RANGES: JSON.stringify(['127.0.0.0/8']),
      });
      const { token } = await crowd.register(`joiner${systemRandom.string(6).toLowerCase()}`);
      for (const [members, room] of rooms) {
        progress(`joining a room of ${members} members`);
        const { result, cost } = await meter.during(`join ${members}`, async () => {
          const begun = performance.now();
          const answer = await fetch(
            `${server.url}/_matrix/client/v3/join/${encodeURIComponent(room.roomId)}?via=${PARTNER}`,
            { method: 'POST', headers: { authorization: `Bearer ${token}` }, body: '{}' },
          );
          if (answer.status !== 200) throw new Error(`the join was answered ${answer.status}: ${await answer.text()}`);
          return { seconds: (performance.now() - begun) / 1000, operations: 1 };
        });
        report(`federation-joins.${members}.seconds`, result.seconds, cost);
        report(`federation-joins.${members}.memory`, await peakOf(server.pid));
      }
    } finally {
      crowd.close();
      await partner.stop();
    }
  },
};
