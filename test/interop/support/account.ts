import { createHmac } from 'node:crypto';
import { SHARED_SECRET } from '#test/support/synapse/synapse-server.ts';
import { ask, must, type Answer } from '#test/support/http.ts';
import { PASSWORD } from '#test/support/sdk-client.ts';
import { until } from '#test/support/until.ts';

/** An answer's body, or a part of it, as a test reads it. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = any;

/** What a client knows of one room from its syncs. */
export interface SeenRoom {
  membership: 'join' | 'invite' | 'knock' | 'leave';
  readonly timeline: Json[];
  /** By type and state key, as the syncs left it. */
  readonly state: Map<string, Json>;
  /** Contents of `m.receipt`, in order. */
  readonly receipts: Json[];
  typing: readonly string[];
  /** Stripped state of an invitation or a knock. */
  stripped: Json[];
  /** How often a timeline was limited. */
  limited: number;
}

/** No page of a timeline is cut short by its number of events. */
const FILTER = encodeURIComponent(JSON.stringify({ room: { timeline: { limit: 100 } } }));

/** A user with one device, on either server, and what came in its syncs. */
export class Account {
  readonly url: string;
  readonly serverName: string;
  readonly userId: string;
  readonly deviceId: string;
  readonly token: string;
  readonly rooms = new Map<string, SeenRoom>();
  readonly presence: Json[] = [];
  readonly toDevice: Json[] = [];
  readonly changed: string[] = [];
  readonly left: string[] = [];
  #since: string | undefined;
  #transactions = 0;

  private constructor(url: string, serverName: string, login: Json) {
    this.url = url;
    this.serverName = serverName;
    this.userId = login.user_id;
    this.deviceId = login.device_id;
    this.token = login.access_token;
  }

  static async register(url: string, serverName: string, name: string): Promise<Account> {
    const wish = { username: name, password: PASSWORD, auth: { type: 'm.login.dummy' } };
    return new Account(url, serverName, await must(url, 'POST', '/register', { body: wish }));
  }

  /** Makes an administrator by the shared secret of the server. */
  static async registerAdmin(url: string, serverName: string, username: string): Promise<Account> {
    const path = '/_synapse/admin/v1/register';
    const { nonce } = await must(url, 'GET', path);
    const fields = [nonce, username, PASSWORD, 'admin'].join('\0');
    const mac = createHmac('sha1', SHARED_SECRET).update(fields).digest('hex');
    const wish = { nonce, username, password: PASSWORD, admin: true, mac };
    return new Account(url, serverName, await must(url, 'POST', path, { body: wish }));
  }

  /** Another device of the same user. */
  async logIn(): Promise<Account> {
    const wish = {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: this.userId },
      password: PASSWORD,
    };
    return new Account(this.url, this.serverName, await must(this.url, 'POST', '/login', { body: wish }));
  }

  /** A request that has to succeed; the answer's body. Paths are under /_matrix/client/v3 unless they begin with `/_`. */
  must(method: string, path: string, body?: unknown): Promise<Json> {
    return must(this.url, method, path, { token: this.token, ...(body === undefined ? {} : { body }) });
  }

  /** A request that may be refused. */
  ask(method: string, path: string, body?: unknown): Promise<Answer> {
    return ask(this.url, method, path, { token: this.token, ...(body === undefined ? {} : { body }) });
  }

  /** A request that is repeated until it succeeds: what it needs is under way from the other server. */
  eventually(method: string, path: string, body?: unknown): Promise<Json> {
    let last: Answer | undefined;
    return until(
      () => `${method} ${path} of ${this.userId} succeeds: ${last?.status} ${JSON.stringify(last?.body)}`,
      async () => {
        last = await this.ask(method, path, body);
        return last.status === 200 ? (last.body as Json) : undefined;
      },
    );
  }

  /** Makes a room that everybody may join. Its id. */
  async room(version: string, content: object = {}): Promise<string> {
    const wish = { room_version: version, preset: 'public_chat', ...content };
    return (await this.must('POST', '/createRoom', wish)).room_id;
  }

  /** Joins by room id over `via`, or by alias. The room's id. */
  async join(room: string, ...via: readonly string[]): Promise<string> {
    return (await this.must('POST', joinPath(room, via), {})).room_id;
  }

  tryToJoin(room: string, ...via: readonly string[]): Promise<Answer> {
    return this.ask('POST', joinPath(room, via), {});
  }

  /** Sends a text. Its event's id. */
  say(roomId: string, body: string): Promise<string> {
    return this.send(roomId, 'm.room.message', { msgtype: 'm.text', body });
  }

  /** Sends an event. Its id. */
  async send(roomId: string, type: string, content: object): Promise<string> {
    const path = `/rooms/${encodeURIComponent(roomId)}/send/${type}/t${(this.#transactions += 1)}`;
    return (await this.must('PUT', path, content)).event_id;
  }

  /** Sends state. Its event's id. */
  async setState(roomId: string, type: string, content: object, stateKey = ''): Promise<string> {
    return (await this.must('PUT', statePath(roomId, type, stateKey), content)).event_id;
  }

  /** An action on somebody: invite, kick, ban, unban. */
  act(roomId: string, action: 'invite' | 'kick' | 'ban' | 'unban', userId: string): Promise<Json> {
    return this.must('POST', `/rooms/${encodeURIComponent(roomId)}/${action}`, { user_id: userId });
  }

  leave(roomId: string): Promise<Json> {
    return this.must('POST', `/rooms/${encodeURIComponent(roomId)}/leave`, {});
  }

  /** A state event's content as the server says it now; undefined where there is none. */
  async state(roomId: string, type: string, stateKey = ''): Promise<Json> {
    const { status, body } = await this.ask('GET', statePath(roomId, type, stateKey));
    return status === 200 ? body : undefined;
  }

  async membershipOf(roomId: string, userId: string): Promise<string | undefined> {
    return (await this.state(roomId, 'm.room.member', userId))?.membership;
  }

  /** The whole state as the server says it now: event ids by type and state key, sorted. */
  async stateIds(roomId: string): Promise<readonly string[]> {
    const { status, body } = await this.ask('GET', `/rooms/${encodeURIComponent(roomId)}/state`);
    if (status !== 200) return [`${status} ${JSON.stringify(body)}`];
    return (body as Json[]).map((event) => `${event.type}|${event.state_key}|${event.event_id}`).sort();
  }

  /** Pages backwards to the beginning of the room, or to what the server has no more of: events, newest first. */
  async history(roomId: string, limit = 20): Promise<Json[]> {
    const events: Json[] = [];
    for (let from: string | undefined; ;) {
      const page = await this.must(
        'GET',
        `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=${limit}${from === undefined ? '' : `&from=${encodeURIComponent(from)}`}`,
      );
      events.push(...page.chunk);
      if (page.end === undefined || page.end === from) return events;
      from = page.end;
    }
  }

  /** Syncs until something is to be seen, and returns it. */
  async until<T>(what: string | (() => string), look: () => T): Promise<NonNullable<T>> {
    return until(
      () => `${this.userId} sees ${typeof what === 'string' ? what : what()}`,
      async () => {
        const seen = look();
        if (seen !== undefined && seen !== null && seen !== false) return seen;
        await this.sync(1_000);
        return look();
      },
    );
  }

  /** Syncs until an event of that id is in a room's timeline. The event. */
  sees(roomId: string, eventId: string): Promise<Json> {
    return this.until(
      () =>
        `${eventId} in ${roomId}, beside ${JSON.stringify(this.rooms.get(roomId)?.timeline.map((e) => e.event_id))}`,
      () => this.rooms.get(roomId)?.timeline.find((event) => event.event_id === eventId),
    );
  }

  /** Syncs until a room is among those of this membership. */
  isIn(roomId: string, membership: SeenRoom['membership']): Promise<SeenRoom> {
    return this.until(
      () => `${roomId} as ${membership}, not ${this.rooms.get(roomId)?.membership}`,
      () => {
        const room = this.rooms.get(roomId);
        return room?.membership === membership ? room : undefined;
      },
    );
  }

  /** One sync from where the last one ended. */
  async sync(timeoutMs = 0): Promise<void> {
    const since = this.#since === undefined ? '' : `&since=${encodeURIComponent(this.#since)}`;
    const timeout = this.#since === undefined ? 0 : timeoutMs;
    const body = await this.must('GET', `/sync?timeout=${timeout}&set_presence=offline&filter=${FILTER}${since}`);
    this.#since = body.next_batch;
    this.presence.push(...(body.presence?.events ?? []));
    this.toDevice.push(...(body.to_device?.events ?? []));
    this.changed.push(...(body.device_lists?.changed ?? []));
    this.left.push(...(body.device_lists?.left ?? []));
    for (const membership of ['join', 'invite', 'knock', 'leave'] as const)
      for (const [roomId, room] of Object.entries<Json>(body.rooms?.[membership] ?? {}))
        this.#take(roomId, membership, room);
  }

  #take(roomId: string, membership: SeenRoom['membership'], news: Json): void {
    let room = this.rooms.get(roomId);
    if (room === undefined) {
      room = { membership, timeline: [], state: new Map(), receipts: [], typing: [], stripped: [], limited: 0 };
      this.rooms.set(roomId, room);
    }
    room.membership = membership;
    room.stripped = news.invite_state?.events ?? news.knock_state?.events ?? room.stripped;
    if (news.timeline?.limited === true) room.limited += 1;
    for (const event of [...(news.state?.events ?? []), ...(news.timeline?.events ?? [])])
      if (event.state_key !== undefined) room.state.set(`${event.type}|${event.state_key}`, event);
    room.timeline.push(...(news.timeline?.events ?? []));
    for (const event of news.ephemeral?.events ?? []) {
      if (event.type === 'm.typing') room.typing = event.content.user_ids;
      if (event.type === 'm.receipt') room.receipts.push(event.content);
    }
  }
}

const statePath = (roomId: string, type: string, stateKey: string): string =>
  `/rooms/${encodeURIComponent(roomId)}/state/${type}/${encodeURIComponent(stateKey)}`;

const joinPath = (room: string, via: readonly string[]): string => `/join/${encodeURIComponent(room)}${viaQuery(via)}`;

/** Servers as they stand in a query, under both names that they have had. */
export const viaQuery = (servers: readonly string[]): string =>
  servers.length === 0
    ? ''
    : `?${servers.flatMap((name) => [`via=${encodeURIComponent(name)}`, `server_name=${encodeURIComponent(name)}`]).join('&')}`;

/** Waits until two users are told the same state of a room, event by event. The state: `type|state key|event id`. */
export async function sameState(roomId: string, one: Account, other: Account): Promise<readonly string[]> {
  let states: readonly (readonly string[])[] = [];
  return until(
    () => {
      const [mine, yours] = states.map((state) => new Set(state));
      const only = (a: Set<string>, b: Set<string>): string[] => [...a].filter((line) => !b.has(line));
      return `${one.userId} and ${other.userId} have the same state: ${JSON.stringify({ first: only(mine!, yours!), second: only(yours!, mine!) }, null, 1)}`;
    },
    async () => {
      states = [await one.stateIds(roomId), await other.stateIds(roomId)];
      return JSON.stringify(states[0]) === JSON.stringify(states[1]) ? states[0] : undefined;
    },
  );
}
