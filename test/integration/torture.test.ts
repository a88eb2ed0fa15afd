import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { WebSocket } from 'ws';
import { type Answer, ask, must } from '#test/support/http.ts';
import { ChildServer } from '#test/support/child-server.ts';
import { recorder } from '#test/support/schema-recorder.ts';
import { pause, until } from '#test/support/until.ts';

const SENDERS = 16;
const SYNC_CLIENTS = 4;
const SOCKET_CLIENTS = 4;
const ROOMS = 3;
/** How often the server is killed, and how often its database alone. */
const KILLS = 5;
const DATABASE_KILLS = 1;
/** How long one may wait for the last event to reach the last client. */
const PATIENCE_MS = 30_000;

const seed = Number(process.env['TSUDOI_TORTURE_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

/** Repeatable chance: one stream of numbers for each name, whoever asks first. */
const chance = (name: string): ((below: number) => number) => {
  let state = seed;
  for (const char of name) state = (Math.imul(state, 31) + char.charCodeAt(0)) | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
};

interface Account {
  readonly userId: string;
  readonly token: string;
}

interface ClientEvent {
  readonly event_id: string;
  readonly type: string;
  readonly sender: string;
  readonly content: { readonly body?: string };
}

interface SyncBody {
  readonly next_batch: string;
  readonly rooms?: {
    readonly join?: Readonly<
      Record<
        string,
        {
          readonly timeline: {
            readonly events: readonly ClientEvent[];
            readonly limited: boolean;
            readonly prev_batch: string;
          };
        }
      >
    >;
  };
}

/** Asks until there is an answer that is not about the server being down. */
const persistently = async (
  server: ChildServer,
  method: string,
  path: string,
  token: string,
  body?: unknown,
): Promise<Answer> => {
  for (;;) {
    const answer = await ask(server.url, method, path, { token, ...(body === undefined ? {} : { body }) }).catch(
      () => undefined,
    );
    if (answer !== undefined && answer.status < 500 && answer.status !== 429) return answer;
    await pause(20);
  }
};

/** What one client knows of each room: its timeline, as the responses it got and the gaps it filled say. */
class Timelines {
  readonly #server: ChildServer;
  readonly #account: Account;
  readonly #name: string;
  readonly rooms = new Map<string, ClientEvent[]>();
  readonly #known = new Set<string>();
  readonly faults: string[] = [];
  since = '';
  gaps = 0;
  responses = 0;

  constructor(server: ChildServer, account: Account, name: string) {
    this.#server = server;
    this.#account = account;
    this.#name = name;
  }

  has(eventId: string): boolean {
    return this.#known.has(eventId);
  }

  /** Takes one response in. Its position counts as reached only when all gaps are filled. */
  async apply(body: SyncBody): Promise<void> {
    this.responses += 1;
    for (const [roomId, { timeline }] of Object.entries(body.rooms?.join ?? {})) {
      const events = this.rooms.get(roomId) ?? [];
      this.rooms.set(roomId, events);
      if (timeline.limited) {
        this.gaps += 1;
        await this.#fill(roomId, events, timeline.prev_batch);
      }
      for (const event of timeline.events) this.#push(roomId, events, event, 'in a timeline');
    }
    this.since = body.next_batch;
  }

  #push(roomId: string, events: ClientEvent[], event: ClientEvent, where: string): void {
    if (this.#known.has(event.event_id))
      this.faults.push(`${this.#name} got ${event.event_id} (${event.content.body}) of ${roomId} twice, ${where}`);
    this.#known.add(event.event_id);
    events.push(event);
  }

  async #fill(roomId: string, events: ClientEvent[], prevBatch: string): Promise<void> {
    const missed: ClientEvent[] = [];
    let from: string | undefined = prevBatch;
    while (from !== undefined) {
      const path = `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=50&from=${encodeURIComponent(from)}`;
      const answer = await persistently(this.#server, 'GET', path, this.#account.token);
      if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      const page = answer.body as { chunk: ClientEvent[]; end?: string };
      const end = page.chunk.findIndex((event) => this.#known.has(event.event_id));
      missed.unshift(...(end === -1 ? page.chunk : page.chunk.slice(0, end)).toReversed());
      from = end === -1 ? page.end : undefined;
    }
    for (const event of missed) this.#push(roomId, events, event, 'in a gap');
  }
}

const filterOf = (limit: number): string =>
  JSON.stringify({ room: { timeline: { limit } }, presence: { not_types: ['*'] } });

describe(`senders and readers of a server that is killed again and again (TSUDOI_TORTURE_SEED=${seed})`, function () {
  this.timeout(150_000);
  let server: ChildServer;
  const accounts: Account[] = [];
  const rooms: string[] = [];
  const clients: Timelines[] = [];
  const acknowledged = new Map<string, { readonly roomId: string; readonly body: string }>();
  const sent: { readonly account: Account; readonly path: string; readonly body: object; readonly eventId: string }[] =
    [];
  const faults: string[] = [];
  let sending = true;
  let reading = true;

  const register = async (name: string): Promise<Account> => {
    const body = (await must(server.url, 'POST', '/register', {
      body: { username: name, password: 'correct horse battery', auth: { type: 'm.login.dummy' } },
    })) as { user_id: string; access_token: string };
    return { userId: body.user_id, token: body.access_token };
  };

  const sender = async (n: number): Promise<void> => {
    const account = accounts[n]!;
    const random = chance(`sender ${n}`);
    for (let i = 0; sending; i++) {
      const roomId = rooms[random(ROOMS)]!;
      const text = `${n}.${i}`;
      const path = `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/txn${i}`;
      const body = { msgtype: 'm.text', body: text };
      const answer = await persistently(server, 'PUT', path, account.token, body);
      if (answer.status !== 200) {
        faults.push(`${path} of ${account.userId} was answered ${answer.status} ${JSON.stringify(answer.body)}`);
        return;
      }
      const { event_id: eventId } = answer.body as { event_id: string };
      if (acknowledged.has(eventId)) faults.push(`${eventId} was acknowledged to two senders`);
      acknowledged.set(eventId, { roomId, body: text });
      sent.push({ account, path, body, eventId });
      await pause(random(40));
    }
  };

  const bySync = async (client: Timelines, account: Account, n: number): Promise<void> => {
    const random = chance(`sync ${n}`);
    while (reading) {
      const query = new URLSearchParams({ timeout: '1000', filter: filterOf(1 + random(30)), since: client.since });
      const answer = await persistently(server, 'GET', `/sync?${query.toString()}`, account.token);
      if (answer.status !== 200) {
        faults.push(`a /sync was answered ${answer.status} ${JSON.stringify(answer.body)}`);
        return;
      }
      // Now and then the answer never reaches the client, which asks again.
      if (random(10) === 0) continue;
      await client.apply(answer.body as SyncBody);
      if (random(4) === 0) await pause(random(400));
    }
  };

  const bySocket = async (client: Timelines, account: Account, n: number): Promise<void> => {
    const random = chance(`socket ${n}`);
    while (reading) {
      const query = new URLSearchParams({ since: client.since, filter: filterOf(1 + random(30)) });
      const url = `${server.url.replace('http', 'ws')}/_matrix/client/unstable/org.tsudoi.websocket/stream?${query.toString()}`;
      const socket = new WebSocket(url, ['m.json'], { headers: { Authorization: `Bearer ${account.token}` } });
      let applied = Promise.resolve();
      let isOpen = true;
      socket.on('message', (data) => {
        const frame = JSON.parse((data as Buffer).toString()) as SyncBody;
        recorder.record('GET', '/_matrix/client/v3/sync', 200, frame);
        applied = applied.then(() => client.apply(frame));
      });
      socket.on('error', () => undefined);
      const closed = new Promise<void>((resolve) => {
        socket.on('close', () => {
          isOpen = false;
          resolve();
        });
      });
      // Also cuts the connection itself from time to time, at any moment.
      const end = Date.now() + 500 + random(4000);
      while (isOpen && reading && Date.now() < end) await pause(25);
      socket.terminate();
      await closed;
      await applied;
      await pause(random(100));
    }
  };

  before(async () => {
    server = await ChildServer.start();
    for (let n = 0; n < SENDERS; n++) accounts.push(await register(`sender${n}`));
    for (let n = 0; n < SYNC_CLIENTS + SOCKET_CLIENTS; n++) accounts.push(await register(`reader${n}`));
    for (let n = 0; n < ROOMS; n++) {
      const room_version = ['12', '10', '1'][n]!;
      const made = await must(server.url, 'POST', '/createRoom', {
        token: accounts[0]!.token,
        body: { preset: 'public_chat', room_version },
      });
      rooms.push(made.room_id as string);
    }
    for (const account of accounts.slice(1)) {
      for (const roomId of rooms) {
        await must(server.url, 'POST', `/join/${encodeURIComponent(roomId)}`, { token: account.token, body: {} });
      }
    }
    for (const [n, account] of accounts.slice(SENDERS).entries()) {
      const client = new Timelines(server, account, `${n < SYNC_CLIENTS ? 'sync' : 'socket'} client ${n}`);
      await client.apply(
        await must(server.url, 'GET', `/sync?filter=${encodeURIComponent(filterOf(1))}`, { token: account.token }),
      );
      clients.push(client);
    }
  });
  after(async () => {
    sending = false;
    reading = false;
    await server?.dispose();
  });

  it('loses no acknowledged event, and repeats none, to any reader', async () => {
    const random = chance('killer');
    const senders = accounts.slice(0, SENDERS).map((_, n) => sender(n));
    const readers = clients.map((client, n) => {
      const account = accounts[SENDERS + n]!;
      return n < SYNC_CLIENTS ? bySync(client, account, n) : bySocket(client, account, n);
    });
    const plan = [
      ...Array.from({ length: KILLS }, () => 'server'),
      ...Array.from({ length: DATABASE_KILLS }, () => 'database'),
    ];
    while (plan.length > 0) {
      await pause(300 + random(2500));
      const [victim] = plan.splice(random(plan.length), 1);
      if (victim === 'server') {
        await server.kill('SIGKILL');
        await pause(random(300));
        await server.launch();
      } else {
        const pid = (await readFile(join(server.dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0];
        process.kill(Number(pid), 'SIGKILL');
      }
    }
    const before = acknowledged.size;
    await until('the server goes on after the last kill', () => acknowledged.size >= before + 100 || faults.length > 0);
    sending = false;
    await Promise.all(senders);
    expect(faults).to.deep.equal([]);
    const deadline = Date.now() + PATIENCE_MS;
    const isDone = (): boolean => clients.every((client) => [...acknowledged.keys()].every((id) => client.has(id)));
    while (!isDone() && Date.now() < deadline) await pause(100);
    reading = false;
    await Promise.all(readers);
    expect(faults).to.deep.equal([]);
    expect(clients.flatMap((client) => client.faults)).to.deep.equal([]);

    // Every reader has every event once, and all of them in the order in which the room has it.
    expect(acknowledged.size).to.be.above(SENDERS * 10);
    for (const roomId of rooms) {
      const wanted = [...acknowledged].filter(([, where]) => where.roomId === roomId).map(([id]) => id);
      const truth = new Timelines(server, accounts[0]!, 'the room itself');
      await truth.apply(
        await must(server.url, 'GET', `/sync?filter=${encodeURIComponent(filterOf(1))}`, { token: accounts[0]!.token }),
      );
      const order = truth.rooms.get(roomId)!.map((event) => event.event_id);
      for (const client of clients) {
        const seen = client.rooms.get(roomId)!.map((event) => event.event_id);
        expect(
          wanted.filter((id) => !seen.includes(id)),
          'acknowledged, but not seen',
        ).to.deep.equal([]);
        expect(seen).to.deep.equal(order);
      }
      // And no transaction made a second one.
      const bodies = truth.rooms
        .get(roomId)!
        .flatMap((event) => (event.type === 'm.room.message' ? [event.content.body] : []));
      expect(bodies.toSorted()).to.deep.equal(wanted.map((id) => acknowledged.get(id)!.body).toSorted());
    }
    const gaps = clients.reduce((sum, client) => sum + client.gaps, 0);
    const responses = clients.reduce((sum, client) => sum + client.responses, 0);
    console.log(`      ${acknowledged.size} events, ${responses} responses with ${gaps} gaps`);
  });

  it('answers a transaction that is sent once more with the event that it made, after all that', async () => {
    const random = chance('retries');
    for (let i = 0; i < 200; i++) {
      const { account, path, body, eventId } = sent[random(sent.length)]!;
      expect((await must(server.url, 'PUT', path, { token: account.token, body })).event_id).to.equal(eventId);
    }
  });
});
