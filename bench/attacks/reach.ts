import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import sharp from 'sharp';
import { attack, type Attack, bearer, part, post, STRANGERS, USERS, V3 } from './battlefield.ts';

/** Loopback address of the web server for URL previews. */
export const WEB = '127.0.0.2';

const MEDIA = '/_matrix/client/v1/media';
const SLIDING = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0';
const THREADS = '/_matrix/client/unstable/io.element.msc4306/rooms';
const preview = (url: string): string => `${MEDIA}/preview_url?url=${encodeURIComponent(url)}`;

/** A web server with hostile pages: only tags, endless, or as slow as the limits allow. */
const harmfulWeb = async (): Promise<string> => {
  const tags = '<div><meta property="og:title" content="x">'.repeat(20_000);
  const server = createServer((request, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' });
    response.on('error', () => undefined);
    if (request.url?.startsWith('/tags') === true) {
      response.end(tags);
      return;
    }
    if (request.url?.startsWith('/slow') === true) {
      const timer = setInterval(() => response.write('<p>'), 500);
      response.on('close', () => clearInterval(timer));
      return;
    }
    const pour = (): void => {
      while (!response.destroyed && response.write(tags));
    };
    response.on('drain', pour);
    pour();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, WEB, resolve);
  });
  // Not closed: it ends with the process.
  server.unref();
  return `http://${WEB}:${(server.address() as AddressInfo).port}`;
};

/** Attacks on outbound requests and on media. */
export const reach: readonly Attack[] = [
  attack('media.uploads', 'users upload ever new files', { expects: ['200'] }, () => {
    const large = randomBytes(450_000).toString('hex');
    return (field) =>
      field.swarm(
        USERS,
        (attacker, round) =>
          field.ask(
            attacker,
            post('/_matrix/media/v3/upload', JSON.stringify(`${round}${large}`), bearer(field.users[attacker]!)),
          ),
        2,
      );
  }),
  attack(
    'media.announced',
    'users announce uploads, and send none',
    { expects: ['200'] },
    () => (field) => field.everyone(() => ['POST', '/_matrix/media/v1/create', {}], 4),
  ),
  attack(
    'media.bombs',
    'users ask for thumbnails of pictures that are huge when they are unpacked',
    { expects: ['200'] },
    async () => {
      const side = 8_000;
      const bomb = await sharp({ create: { width: side, height: side, channels: 3, background: '#fff' } })
        .png({ compressionLevel: 9 })
        .toBuffer();
      return async (field) => {
        const { host, port } = field.endpoint;
        const ids = await Promise.all(
          field.users.map(async ({ token }) => {
            const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'image/png' };
            const sent = { method: 'POST', headers, body: new Uint8Array(bomb) };
            const answer = await fetch(`http://${host}:${port}/_matrix/media/v3/upload`, sent);
            const { content_uri: uri } = (await answer.json()) as { readonly content_uri: string };
            return uri.slice('mxc://'.length);
          }),
        );
        const sizes = [32, 96, 320, 640, 800];
        await field.everyone((user, round) => {
          const size = sizes[round % sizes.length];
          return [
            'GET',
            `${MEDIA}/thumbnail/${ids[field.users.indexOf(user)]}?width=${size}&height=${size}&method=crop`,
          ];
        });
      };
    },
  ),
  attack('previews.pages', 'users ask for previews of pages that do harm', { expects: ['200'] }, async () => {
    const web = await harmfulWeb();
    const kinds = ['tags', 'slow', 'endless'];
    return (field) => field.everyone((_, round) => ['GET', preview(`${web}/${kinds[round % 3]}/${round}`)], 4);
  }),
  attack(
    'previews.inside',
    'users ask for previews of what lies inside the network, and of nothing',
    { expects: ['inside 404'], most: { 'inside 200': 0 } },
    () => (field) =>
      field.everyone(
        (_, round) =>
          round % 2 === 0
            ? ['GET', preview(`http://127.0.0.1:${1 + (round % 60_000)}/`), undefined, 'inside']
            : ['GET', preview(`http://nowhere${round}.invalid/${round}`), undefined, 'nothing'],
        4,
      ),
  ),
  attack(
    'mail.strangers',
    'strangers ask for mails to ever new addresses',
    { expects: ['200'] },
    () => (field) =>
      field.strangers((stranger, round) => [
        'POST',
        `${V3}/register/email/requestToken`,
        { client_secret: `secret${round}`, send_attempt: 1, email: `person${stranger}.${round}@nowhere.test` },
      ]),
  ),
  attack(
    'push.gateways',
    'users set pushers at ever new gateways, and write to each other',
    { expects: ['200'] },
    ({ room }) =>
      (field) =>
        field.everyone((_, round) =>
          round % 2 === 0
            ? [
                'POST',
                `${V3}/pushers/set`,
                {
                  kind: 'http',
                  app_id: 'bench',
                  pushkey: `key${round}`,
                  app_display_name: 'x',
                  device_display_name: 'x',
                  lang: 'en',
                  data: { url: `https://gateway${round}.invalid/_matrix/push/v1/notify` },
                  append: true,
                },
              ]
            : [
                'PUT',
                `${V3}/rooms/${part(room)}/send/m.room.message/p${round}`,
                { msgtype: 'm.text', body: '@room', 'm.mentions': { room: true } },
              ],
        ),
  ),
  attack(
    'threads.followed',
    'users follow threads and cease to, and ask what they follow',
    { expects: ['200'] },
    async (scene) => {
      const { crowd, room, users } = scene;
      const roots: string[] = [];
      const said = async (txn: string, more: object): Promise<string> => {
        const path = `${V3}/rooms/${part(room)}/send/m.room.message/${txn}`;
        const body = { msgtype: 'm.text', body: 'x', ...more };
        return (await crowd.json<{ event_id: string }>('PUT', path, users[0]!.token, body)).event_id;
      };
      for (let n = 0; n < 100; n += 1) {
        const root = await said(`root${n}`, {});
        await said(`reply${n}`, { 'm.relates_to': { rel_type: 'm.thread', event_id: root } });
        roots.push(root);
      }
      return (field) =>
        field.everyone((_, round) => {
          const path = `${THREADS}/${part(room)}/thread/${part(roots[round % roots.length]!)}/subscription`;
          if (round % 3 === 0) return ['PUT', path, {}];
          if (round % 3 === 1) return ['DELETE', path];
          const extensions = { 'io.element.msc4308.thread_subscriptions': { enabled: true, limit: 100 } };
          return ['POST', SLIDING, { conn_id: `c${round % 30}`, extensions }];
        }, 4);
    },
  ),
  attack(
    'profiles.fields',
    'users in a room of many change fields of their profile, and begin connections that want all profiles',
    { expects: ['200'] },
    () => (field) =>
      field.everyone((user, round) => {
        if (round % 2 === 0)
          return [
            'PUT',
            `${V3}/profile/${part(user.userId)}/org.bench.field${round % 20}`,
            { [`org.bench.field${round % 20}`]: `${round}${'x'.repeat(1_000)}` },
          ];
        const lists = { all: { ranges: [[0, 99]], timeline_limit: 1, required_state: [['m.room.member', '*']] } };
        return ['POST', SLIDING, { lists, extensions: { 'org.matrix.msc4262.profiles': { enabled: true } } }];
      }, 2),
  ),
  attack(
    'login.tokens',
    'strangers redeem tokens of logins that were never given out',
    { expects: ['403'] },
    () => (field) =>
      field.swarm(STRANGERS, (stranger, round) =>
        field.ask(stranger, post(`${V3}/login`, { type: 'm.login.token', token: `${round}`.padStart(43, 'a') })),
      ),
  ),
];
