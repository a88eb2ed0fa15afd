import { createHmac } from 'node:crypto';
import { HttpConnection, requestText, type Answer, type ConnectionOptions, type Endpoint } from './http.ts';

export const PASSWORD = 'a password for the bench';
const CLIENT = '/_matrix/client/v3';

/** A logged-in user. */
export interface Person {
  readonly userId: string;
  readonly token: string;
}

/** What a modern client asks /sync for, without presence: who is online is not what these workloads measure. */
export const SYNC_FILTER = {
  room: { state: { lazy_load_members: true }, timeline: { limit: 10 } },
  presence: { not_types: ['*'] },
};

/** A response whose status ends the workload. */
export class UnexpectedAnswer extends Error {
  constructor(what: string, answer: Answer) {
    super(`${what} answered ${answer.status}: ${answer.body.toString('utf8', 0, 300)}`);
    this.name = 'UnexpectedAnswer';
  }
}

/** A pool of connections for setup, and for phases with a fixed number of requests in flight. */
export class Crowd {
  readonly #idle: HttpConnection[] = [];
  readonly #all: HttpConnection[] = [];
  readonly #waiting: ((connection: HttpConnection) => void)[] = [];
  #names = 0;

  constructor(endpoint: Endpoint, connections: number, options: ConnectionOptions = {}) {
    for (let i = 0; i < connections; i += 1) this.#all.push(new HttpConnection(endpoint, options));
    this.#idle.push(...this.#all);
  }

  close(): void {
    for (const connection of this.#all) connection.close();
  }

  /** One JSON request on the next free connection. */
  async answer(method: string, path: string, token?: string, body?: unknown): Promise<Answer> {
    const connection =
      this.#idle.pop() ?? (await new Promise<HttpConnection>((resolve) => this.#waiting.push(resolve)));
    try {
      return await connection.send(requestText(method, path, token, body));
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#idle.push(connection);
      else next(connection);
    }
  }

  /** The same, with the answer parsed. @throws UnexpectedAnswer unless it is a 200 */
  async json<T>(method: string, path: string, token?: string, body?: unknown): Promise<T> {
    const answer = await this.answer(method, path, token, body);
    if (answer.status !== 200) throw new UnexpectedAnswer(`${method} ${path.split('?')[0]}`, answer);
    return JSON.parse(answer.body.toString()) as T;
  }

  /** An unused user name. */
  name(): string {
    this.#names += 1;
    return `bench${this.#names}`;
  }

  async register(username = this.name()): Promise<Person> {
    const body = { username, password: PASSWORD, auth: { type: 'm.login.dummy' } };
    const made = await this.json<{ user_id: string; access_token: string }>(
      'POST',
      `${CLIENT}/register`,
      undefined,
      body,
    );
    return { userId: made.user_id, token: made.access_token };
  }

  /** An administrator of a server with this `registration.shared_secret`. */
  async registerAdministrator(secret: string, username = this.name()): Promise<Person> {
    const path = '/_synapse/admin/v1/register';
    const { nonce } = await this.json<{ nonce: string }>('GET', path);
    const mac = createHmac('sha1', secret).update([nonce, username, PASSWORD, 'admin'].join('\0')).digest('hex');
    const body = { nonce, username, password: PASSWORD, admin: true, mac };
    const made = await this.json<{ user_id: string; access_token: string }>('POST', path, undefined, body);
    return { userId: made.user_id, token: made.access_token };
  }

  /** `count` people, made as fast as the connections allow. */
  people(count: number): Promise<Person[]> {
    return Promise.all(Array.from({ length: count }, () => this.register()));
  }

  async logIn(user: string): Promise<Person> {
    const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password: PASSWORD };
    const made = await this.json<{ user_id: string; access_token: string }>('POST', `${CLIENT}/login`, undefined, body);
    return { userId: made.user_id, token: made.access_token };
  }

  /** A public room; its id. */
  async createRoom(creator: Person, more: Record<string, unknown> = {}): Promise<string> {
    const body = { preset: 'public_chat', ...more };
    return (await this.json<{ room_id: string }>('POST', `${CLIENT}/createRoom`, creator.token, body)).room_id;
  }

  async join(person: Person, room: string): Promise<void> {
    await this.json('POST', `${CLIENT}/rooms/${encodeURIComponent(room)}/join`, person.token, {});
  }

  async joinAll(people: readonly Person[], room: string): Promise<void> {
    await Promise.all(people.map((person) => this.join(person, room)));
  }

  async message(person: Person, room: string, text: string, txn: string): Promise<void> {
    const answer = await this.answer('PUT', sendPath(room, txn), person.token, { msgtype: 'm.text', body: text });
    if (answer.status !== 200) throw new UnexpectedAnswer('PUT send', answer);
  }

  /** Stores the filter of `SYNC_FILTER`; its id. */
  async storeFilter(person: Person): Promise<string> {
    const path = `${CLIENT}/user/${encodeURIComponent(person.userId)}/filter`;
    return (await this.json<{ filter_id: string }>('POST', path, person.token, SYNC_FILTER)).filter_id;
  }
}

export function sendPath(room: string, txn: string): string {
  return `${CLIENT}/rooms/${encodeURIComponent(room)}/send/m.room.message/${txn}`;
}

/** `since` undefined: an initial sync. */
export function syncPath(filter: string, since: string | undefined, timeoutMs: number): string {
  const from = since === undefined ? '' : `&since=${encodeURIComponent(since)}`;
  return `${CLIENT}/sync?set_presence=offline&timeout=${timeoutMs}&filter=${encodeURIComponent(filter)}${from}`;
}

const NEXT_BATCH = Buffer.from('"next_batch":"');

/** The token out of a sync's body, without parsing the rest of it. */
export function nextBatch(body: Buffer): string {
  // Our own messages do not hold this text, so its first place is the right one.
  const at = body.indexOf(NEXT_BATCH);
  if (at < 0) throw new Error('a sync without next_batch');
  const from = at + NEXT_BATCH.length;
  return body.toString('utf8', from, body.indexOf(0x22, from));
}

/** Exactly 60 characters. */
export const SIXTY = 'The quick brown fox jumps over the lazy dog, and again, ok?!';
