import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import sharp from 'sharp';
import { Crowd, type Person } from '../load/people.ts';
import { higher, lower, percentile, type Workload } from '../workload.ts';

const IN_FLIGHT = 16;
/** Where the web is: an address of the loopback network that the server may talk to. */
const WEB = '127.0.0.2';
const PREVIEW = '/_matrix/client/v1/media/preview_url?url=';

/** A page as they are, 60 kB with its scripts, and a picture. */
const site = async (): Promise<{ readonly url: string; readonly server: Server }> => {
  const picture = await sharp({
    create: {
      width: 1200,
      height: 630,
      channels: 3,
      background: '#a3481f',
      noise: { type: 'gaussian', mean: 128, sigma: 20 },
    },
  })
    .jpeg({ quality: 60 })
    .toBuffer();
  const head = '<meta property="og:title" content="ページの題名"><meta property="og:image" content="/picture.jpg">';
  const page = Buffer.from(
    `<!doctype html><html><head><meta charset="utf-8">${head}<script>${'var x=1;'.repeat(3_000)}</script></head><body>${'<p>本文です。A paragraph of the page.</p>'.repeat(700)}</body></html>`,
  );
  const server = createServer((request, response) => {
    const isPicture = request.url === '/picture.jpg';
    response.writeHead(200, { 'Content-Type': isPicture ? 'image/jpeg' : 'text/html; charset=utf-8' });
    response.end(isPicture ? picture : page);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, WEB, resolve);
  });
  return { server, url: `http://${WEB}:${(server.address() as AddressInfo).port}` };
};

/** Previews of pages with pictures, fresh and kept, and what messages of others take meanwhile. */
export const previews: Workload = {
  id: 'previews',
  title: 'Previews of URLs',
  limitSeconds: 120,
  server: { env: { TSUDOI_PREVIEWS__ALLOW_IP_RANGES: `${WEB}/32` } },
  figures: [
    {
      id: 'previews.fresh.rate',
      title: `new pages with pictures, ${IN_FLIGHT} in flight`,
      unit: '/s',
      goal: higher(50, 150),
    },
    {
      id: 'previews.kept.rate',
      title: `cached pages, ${IN_FLIGHT} in flight`,
      unit: '/s',
      goal: higher(2_000, 5_000),
    },
    { id: 'previews.send.p95', title: "another user's send meanwhile, p95", unit: 'ms', goal: lower(60, 15) },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, IN_FLIGHT + 1);
    const web = await site();
    try {
      const people = await crowd.people(IN_FLIGHT);
      const sender = await crowd.register();
      const { room_id: room } = await crowd.json<{ room_id: string }>(
        'POST',
        '/_matrix/client/v3/createRoom',
        sender.token,
        {},
      );
      const timed = async (label: string, limitMs: number, work: (person: Person) => Promise<unknown>) => {
        const start = performance.now();
        let operations = 0;
        await Promise.all(
          people.map(async (person) => {
            while (performance.now() - start < limitMs) {
              await work(person);
              operations += 1;
              if (operations % 50 === 0) progress(`${label}: ${operations}`);
            }
          }),
        );
        return { operations, seconds: (performance.now() - start) / 1000 };
      };
      let pages = 0;
      const look = (path: string) => (person: Person) =>
        crowd.json('GET', `${PREVIEW}${encodeURIComponent(web.url + path)}`, person.token);
      const fresh = (person: Person): Promise<unknown> => {
        pages += 1;
        return look(`/page-${pages}`)(person);
      };
      await timed('first previews', 1_000, fresh);
      const sends: number[] = [];
      let isOver = false;
      const sending = (async () => {
        for (let message = 0; !isOver; message++) {
          const start = performance.now();
          const content = { msgtype: 'm.text', body: 'meanwhile' };
          const path = `/_matrix/client/v3/rooms/${room}/send/m.room.message/m${message}`;
          await crowd.json('PUT', path, sender.token, content);
          sends.push(performance.now() - start);
        }
      })();
      const making = await meter.during('fresh previews', () => timed('previews', pick(10_000, 3_000), fresh));
      isOver = true;
      await sending;
      report('previews.fresh.rate', making.result.operations / making.result.seconds, making.cost);
      report('previews.send.p95', percentile(sends, 0.95));
      const keeping = await meter.during('kept previews', () =>
        timed('kept previews', pick(5_000, 2_000), look('/page-1')),
      );
      report('previews.kept.rate', keeping.result.operations / keeping.result.seconds, keeping.cost);
    } finally {
      web.server.closeAllConnections();
      web.server.close();
      crowd.close();
    }
  },
};
