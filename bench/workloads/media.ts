import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { finished } from 'node:stream/promises';
import { setTimeout } from 'node:timers/promises';
import sharp from 'sharp';
import { HttpConnection, requestText } from '../load/http.ts';
import { Crowd, sendPath, SIXTY, UnexpectedAnswer, type Person } from '../load/people.ts';
import type { BenchServer } from '../server.ts';
import { lower, percentile, type Workload } from '../workload.ts';

const MIB = 1024 * 1024;
const CHUNK = randomBytes(MIB);
const LIMIT_MS = 240_000;

/** MiB that a process has in memory. */
const residentMiB = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN) / 1024;

/** Does something, and looks meanwhile how much memory the server takes at most. */
const watching = async <T>(
  server: BenchServer,
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly maxMiB: number }> => {
  let maxMiB = residentMiB(server.pid);
  const timer = setInterval(() => (maxMiB = Math.max(maxMiB, residentMiB(server.pid))), 50);
  try {
    return { result: await work(), maxMiB };
  } finally {
    clearInterval(timer);
  }
};

/** Uploads so many bytes, in pieces as the server takes them. Returns the URI. */
const upload = (server: BenchServer, token: string, bytes: number, mark: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const sent = request(
      `${server.url}/_matrix/media/v3/upload`,
      {
        method: 'POST',
        headers: {
          Authorization: `Bearer ${token}`,
          'Content-Length': bytes,
          'Content-Type': 'application/octet-stream',
        },
      },
      (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk) => (text += String(chunk)));
        answer.on('end', () => {
          if (answer.statusCode === 200) resolve((JSON.parse(text) as { content_uri: string }).content_uri);
          else reject(new Error(`an upload answered ${answer.statusCode}: ${text.slice(0, 200)}`));
        });
      },
    );
    sent.on('error', reject);
    const head = Buffer.from(mark.padEnd(64).slice(0, 64));
    sent.write(head);
    let left = bytes - head.length;
    const more = (): void => {
      while (left > 0) {
        const piece = left >= CHUNK.length ? CHUNK : CHUNK.subarray(0, left);
        left -= piece.length;
        if (!sent.write(piece)) {
          sent.once('drain', more);
          return;
        }
      }
      sent.end();
    };
    more();
  });

/** Uploads what is in memory. Returns the URI. */
const uploadWhole = async (server: BenchServer, token: string, content: Buffer, type: string): Promise<string> => {
  const answer = await fetch(`${server.url}/_matrix/media/v3/upload`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': type },
    body: new Uint8Array(content),
  });
  if (answer.status !== 200) throw new Error(`an upload answered ${answer.status}`);
  return ((await answer.json()) as { content_uri: string }).content_uri;
};

/** Downloads, and throws away what comes. Returns how many bytes that were. */
const download = (server: BenchServer, token: string, path: string): Promise<number> =>
  new Promise((resolve, reject) => {
    request(`${server.url}${path}`, { headers: { Authorization: `Bearer ${token}` } }, (answer) => {
      let bytes = 0;
      answer.on('data', (chunk: Buffer) => (bytes += chunk.length));
      finished(answer).then(() => {
        if (answer.statusCode === 200) resolve(bytes);
        else reject(new Error(`a download answered ${answer.statusCode}`));
      }, reject);
    })
      .on('error', reject)
      .end();
  });

const pathOf = (uri: string, kind = 'download'): string => `/_matrix/client/v1/media/${kind}/${uri.slice(6)}`;

/** Does something for each of these, so many at once. */
const each = async <T, R>(
  all: readonly T[],
  atOnce: number,
  work: (one: T, index: number) => Promise<R>,
): Promise<R[]> => {
  const results: R[] = [];
  let next = 0;
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let index = next++; index < all.length; index = next++) results[index] = await work(all[index] as T, index);
    }),
  );
  return results;
};

const seconds = async (work: () => Promise<unknown>): Promise<number> => {
  const from = performance.now();
  await work();
  return (performance.now() - from) / 1_000;
};

/** Files: their way in and out, what is made of them, and what they cost messages. */
export const media: Workload = {
  id: 'media',
  title: 'Files',
  limitSeconds: 900,
  server: {
    env: {
      TSUDOI_MEDIA__MAX_UPLOAD_BYTES: String(2 * 1024 * MIB),
      TSUDOI_MEDIA__RETENTION__RELEASED_GRACE_MS: '0',
      TSUDOI_MEDIA__RETENTION__INTERVAL_MS: '500',
      TSUDOI_RETENTION__INTERVAL_MS: '500',
    },
  },
  figures: [
    { id: 'media.upload.1m', title: 'uploads of 1 MiB, 4 at once', unit: 'MiB/s' },
    { id: 'media.download.1m', title: 'downloads of 1 MiB, 4 at once', unit: 'MiB/s' },
    { id: 'media.upload.1g', title: 'upload of 1 GiB', unit: 'MiB/s' },
    { id: 'media.download.1g', title: 'download of 1 GiB', unit: 'MiB/s' },
    {
      id: 'media.memory',
      title: 'peak resident memory above idle during upload and download of 1 GiB',
      unit: 'MiB',
      goal: lower(150, 80),
    },
    { id: 'media.thumbnails', title: 'thumbnails of images of 12 megapixels', unit: '/s' },
    {
      id: 'media.sends.ratio',
      title: 'time of a message that names a file / of one that does not, p50',
      unit: '',
      goal: lower(1.1, 1.05),
    },
    { id: 'media.release', title: 'files that a purge frees, deleted with their bytes', unit: '/s' },
    {
      id: 'media.release.statements',
      title: 'SQL statements per file freed by a purge',
      unit: '',
      goal: lower(1, 0.3),
    },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 8);
    try {
      const [alice, bob] = (await crowd.people(2)) as [Person, Person];
      // What is loaded with the first file is not what a gigabyte costs.
      await download(server, bob.token, pathOf(await upload(server, alice.token, MIB, 'warm')));
      await setTimeout(1_000);

      progress('files of 1 MiB');
      const count = pick(200, 40);
      const names = Array.from({ length: count }, (_, n) => `small ${n}`);
      let uris: string[] = [];
      const up = await meter.during('media-upload', async () => {
        const time = await seconds(
          async () => (uris = await each(names, 4, (name) => upload(server, alice.token, MIB, name))),
        );
        return { operations: count, time };
      });
      report('media.upload.1m', count / up.result.time, up.cost);
      const down = await meter.during('media-download', async () => ({
        operations: count,
        time: await seconds(() => each(uris, 4, (uri) => download(server, bob.token, pathOf(uri)))),
      }));
      report('media.download.1m', count / down.result.time, down.cost);

      const large = pick(1024, 256);
      progress(`a file of ${large} MiB`);
      await setTimeout(2_000);
      const idle = residentMiB(server.pid);
      let uri = '';
      const sent = await watching(server, () =>
        seconds(async () => (uri = await upload(server, alice.token, large * MIB, 'large'))),
      );
      report('media.upload.1g', large / sent.result, undefined, `${large} MiB`);
      const read = await watching(server, () =>
        seconds(async () => {
          const bytes = await download(server, bob.token, pathOf(uri));
          if (bytes !== large * MIB) throw new Error(`${bytes} bytes came back of ${large * MIB}`);
        }),
      );
      report('media.download.1g', large / read.result, undefined, `${large} MiB`);
      report('media.memory', Math.max(sent.maxMiB, read.maxMiB) - idle, undefined, `idle ${idle.toFixed(0)} MiB`);

      progress('thumbnails');
      const images = pick(40, 10);
      const pictures = await each(Array.from({ length: images }), 2, async (_, n) => {
        const noise = { width: 4_000, height: 3_000, channels: 3, background: { r: n, g: 90, b: 20 } } as const;
        const content = await sharp({ create: noise }).jpeg().toBuffer();
        return uploadWhole(server, alice.token, content, 'image/jpeg');
      });
      const size = '?width=800&height=600';
      const made = await seconds(() =>
        each(pictures, 4, (picture) => download(server, bob.token, pathOf(picture, 'thumbnail') + size)),
      );
      report('media.thumbnails', images / made);

      progress('messages that name files');
      const room = await crowd.createRoom(alice);
      const ratio = await comparedSends(server, alice, room, uris, pick(16, 8), pick(1_000, 500));
      report(
        'media.sends.ratio',
        ratio.ratio,
        undefined,
        `${ratio.plain.toFixed(2)} and ${ratio.naming.toFixed(2)} ms`,
      );

      const files = pick(10_000, 1_000);
      progress(`making ${files} files that messages name`);
      const old = await crowd.createRoom(alice);
      await each(Array.from({ length: files }), 4, async (_, n) => {
        const url = await uploadWhole(server, alice.token, Buffer.from(`a small file ${n}`), 'text/plain');
        await crowd.json('PUT', sendPath(old, `old${n}`), alice.token, { msgtype: 'm.file', body: 'x', url });
      });
      await crowd.message(alice, old, 'last', 'last');
      const left = async (): Promise<number> => {
        const [row] = await server.sql<{ count: string }>(
          `select count(*) as count from media m join blobs b on b.name = m.blob where m.filename is null and b.size < 100`,
        );
        const [doomed] = await server.sql<{ count: string }>('select count(*) as count from blobs where doomed');
        return Number(row!.count) + Number(doomed!.count);
      };
      for (const until = performance.now() + LIMIT_MS; performance.now() < until;) {
        const [row] = await server.sql<{ count: string }>('select count(*) as count from media_references');
        if (Number(row!.count) >= files) break;
        await setTimeout(200);
      }
      await server.sql('update events set ts = ts - 86400000 where room = (select nid from rooms where room_id = $1)', [
        old,
      ]);
      const freed = await meter.during('media-release', async () => {
        const path = `/_matrix/client/v3/rooms/${old}/state/m.room.retention/`;
        const from = performance.now();
        await crowd.json('PUT', path, alice.token, { max_lifetime: 3_600_000 });
        let remaining = files;
        while (remaining > 0 && performance.now() - from < LIMIT_MS) {
          await setTimeout(500);
          remaining = await left();
          progress(`${remaining} files are left`);
        }
        if (remaining > 0) throw new Error(`${remaining} files were not deleted`);
        return { operations: files, time: (performance.now() - from) / 1_000 };
      });
      report('media.release', files / freed.result.time, freed.cost);
      report('media.release.statements', freed.cost.statements);
    } finally {
      crowd.close();
    }
  },
};

/** Messages with and without the name of a file, in turns, so that what else the machine does is the same for both. */
const comparedSends = async (
  server: BenchServer,
  { token }: Person,
  room: string,
  uris: readonly string[],
  rounds: number,
  milliseconds: number,
): Promise<{ readonly ratio: number; readonly plain: number; readonly naming: number }> => {
  const connection = new HttpConnection(server.endpoint);
  const latencies = { plain: [] as number[], naming: [] as number[] };
  let count = 0;
  try {
    for (let round = -1; round < rounds; round++) {
      for (const kind of ['plain', 'naming'] as const) {
        const end = performance.now() + milliseconds;
        while (performance.now() < end) {
          count += 1;
          // As long as the other, but for what it names.
          const url = kind === 'naming' ? uris[count % uris.length] : `https://localhost/${'x'.repeat(24)}`;
          const body = { msgtype: 'm.image', body: SIXTY, url };
          const from = performance.now();
          const answer = await connection.send(requestText('PUT', sendPath(room, `c${count}`), token, body));
          if (answer.status !== 200) throw new UnexpectedAnswer('PUT send', answer);
          if (round >= 0) latencies[kind].push(performance.now() - from);
        }
      }
    }
  } finally {
    connection.close();
  }
  const [plain, naming] = [percentile(latencies.plain, 0.5), percentile(latencies.naming, 0.5)];
  return { ratio: naming / plain, plain, naming };
};
