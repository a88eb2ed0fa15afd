import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { HttpConnection, requestText, type Answer, type Endpoint } from '../load/http.ts';
import { WebSocket } from 'ws';
import type { Crowd, Person } from '../load/people.ts';
import type { PartnerServer } from '../load/partner-server.ts';
import { STREAM_PATH, STREAM_SUBPROTOCOL } from '../load/socket.ts';

/** Number of attackers: unauthenticated clients, each with an IP address of its own, or users. */
export const STRANGERS = 100;
export const USERS = 10;

export const V3 = '/_matrix/client/v3';
export const part = encodeURIComponent;

/** The address of a trusted reverse proxy: it may set any X-Forwarded-For. */
export const PROXY = '127.0.1.1';

/** Context for the preparation of an attack, without rate limits. */
export interface Scene {
  readonly crowd: Crowd;
  /** Another server. */
  readonly partner: PartnerServer;
  /** The user whose requests are measured. */
  readonly victim: Person;
  /** Somebody else, whom this attack alone may be about. */
  readonly owner: Person;
  /** A new one. */
  readonly administrator: () => Promise<Person>;
  /** Rows of a table. */
  readonly rowsOf: (table: 'users') => Promise<number>;
  /** The path of the last link with which the first administrator is made. */
  readonly setupLink: () => string | undefined;
  /** The attacking users. */
  readonly users: readonly Person[];
  /** A room of the attacking users only. */
  readonly room: string;
  /** A large room that they are members of. */
  readonly largeRoom: string;
}

/** A request, and what its outcomes are told apart by where the attack has several kinds. */
export type Asked = readonly [method: string, path: string, body?: unknown, kind?: string];

const STATUS_LINE = /HTTP\/1\.1 (\d{3})/g;
const STATUS_BYTES = 'HTTP/1.1 200'.length;
const ERRCODE = /"errcode":"(\w+)"/;

/** The first prime number from here on. */
const primeFrom = (from: number): number => {
  for (let number = Math.max(2, from); ; number += 1) {
    let divisor = 2;
    while (divisor * divisor <= number && number % divisor !== 0) divisor += 1;
    if (divisor * divisor > number) return number;
  }
};

/** What a running attack is given. */
export class Battlefield {
  readonly endpoint: Endpoint;
  readonly users: readonly Person[];
  readonly #block: number;
  #isOver = false;
  readonly #sockets = new Set<Socket>();
  readonly #idle = new Map<number, HttpConnection[]>();
  readonly #connections: HttpConnection[] = [];
  readonly #webSockets = new Set<WebSocket>();
  /** Answers by status, of frames by errcode, and connections that were made, and that were closed instead of an answer. */
  readonly outcomes = new Map<string, number>();

  /** @param block addresses 127.0.block.x are those of the attackers */
  constructor(endpoint: Endpoint, users: readonly Person[], block: number) {
    this.endpoint = endpoint;
    this.users = users;
    this.#block = block;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  end(): void {
    this.#isOver = true;
    for (const socket of this.#sockets) socket.destroy();
    for (const connection of this.#connections) connection.close();
    for (const socket of this.#webSockets) socket.terminate();
  }

  /**
   * Notes what came of something that was tried.
   *
   * @param kind what outcomes are told apart by, where the attack has requests of several kinds
   */
  note(outcome: string, kind?: string): void {
    const name = kind === undefined ? outcome : `${kind} ${outcome}`;
    this.outcomes.set(name, (this.outcomes.get(name) ?? 0) + 1);
  }

  /** Connects from an attacker's own address, and writes; the answers' statuses are noted. */
  open(attacker: number, text: string | Buffer = '', localAddress?: string, kind?: string): Socket {
    const socket = this.#connect(attacker, text, localAddress);
    return socket.on('data', (chunk: Buffer) => {
      for (const [, status] of chunk.toString('latin1').matchAll(STATUS_LINE)) this.note(status!, kind);
    });
  }

  /** The same, where the answer waits: nothing is read of it but its status. */
  openUnread(attacker: number, text: string, kind?: string): Socket {
    const socket = this.#connect(attacker, text);
    const begin = (): void => {
      const head = socket.read(STATUS_BYTES) as Buffer | null;
      if (head === null) return;
      socket.off('readable', begin);
      this.note(head.toString('latin1', STATUS_BYTES - 3), kind);
    };
    return socket.on('readable', begin);
  }

  #connect(attacker: number, text: string | Buffer, localAddress = this.#addressOf(attacker)): Socket {
    const socket = connect({ ...this.endpoint, localAddress });
    this.#sockets.add(socket);
    socket
      .on('connect', () => this.note('connected'))
      .on('error', () => undefined)
      .on('close', () => {
        this.#sockets.delete(socket);
        if (!this.isOver && socket.bytesRead === 0) this.note('closed');
      });
    if (text.length > 0) socket.write(text);
    return socket;
  }

  /** One request on a connection of its own, which is closed with the first bytes of the answer. */
  askOnce(attacker: number, request: string, localAddress?: string, kind?: string): Promise<void> {
    return new Promise((resolve) => {
      const socket = this.open(attacker, request, localAddress, kind);
      socket.once('data', () => socket.destroy()).once('close', () => resolve());
    });
  }

  /** Writes to a connection as fast as it takes it. Resolves when it is closed. */
  pour(attacker: number, begin: string, more: Buffer): Promise<void> {
    return new Promise((resolve) => {
      const socket = this.open(attacker, begin);
      const write = (): void => {
        while (!socket.destroyed && !this.isOver && socket.write(more));
      };
      socket
        .on('drain', write)
        .on('connect', write)
        .on('close', () => resolve());
    });
  }

  /** One request of an attacker on a connection that is kept. Undefined where it was closed instead of an answer. */
  async ask(attacker: number, request: string, kind?: string): Promise<Answer | undefined> {
    const idle = this.#idle.get(attacker) ?? [];
    this.#idle.set(attacker, idle);
    let connection = idle.pop();
    if (connection === undefined) {
      connection = new HttpConnection(this.endpoint, { localAddress: this.#addressOf(attacker), timeoutMs: 20_000 });
      this.#connections.push(connection);
    }
    const answer = await connection.send(request).catch(() => undefined);
    this.note(answer === undefined ? 'closed' : String(answer.status), kind);
    idle.push(connection);
    return answer;
  }

  /** An authenticated WebSocket of a user. */
  webSocket(attacker: number): Promise<WebSocket> {
    const { host, port } = this.endpoint;
    const socket = new WebSocket(`ws://${host}:${port}${STREAM_PATH}`, [STREAM_SUBPROTOCOL], {
      perMessageDeflate: false,
      localAddress: this.#addressOf(attacker),
    });
    this.#webSockets.add(socket);
    const params = { token: this.users[attacker]!.token, set_presence: 'offline' };
    socket.on('open', () => socket.send(JSON.stringify({ method: 'auth', params })));
    return new Promise((resolve, reject) => {
      socket.on('error', reject).on('close', () => {
        this.#webSockets.delete(socket);
        reject(new Error('closed'));
      });
      socket.once('message', () => resolve(socket));
    });
  }

  /** Sends frames on a socket as fast as it takes them, until it is closed. Their answers are noted: `result`, or the errcode. */
  async frames(attacker: number, frame: (round: number) => object, kind?: string): Promise<void> {
    const socket = await this.webSocket(attacker);
    socket.on('message', (data: Buffer) => {
      const text = data.toString('latin1', 0, 200);
      // What the server says of its own accord has no id.
      if (text.startsWith('{"id":')) this.note(ERRCODE.exec(text)?.[1] ?? 'result', kind);
    });
    for (let round = 0; !this.isOver && socket.readyState === socket.OPEN; round += 1) {
      socket.send(JSON.stringify(frame(round)));
      if (round % 10 === 9) await sleep(1);
    }
  }

  /**
   * Does something again and again for each of `count` attackers until it is over; `width` times at once. No two have the same round, and
   * whatever is chosen by `round % n`, each of them comes to all of it.
   */
  async swarm(count: number, act: (attacker: number, round: number) => Promise<unknown>, width = 1): Promise<void> {
    const stride = primeFrom(count * width);
    await Promise.all(
      Array.from({ length: count * width }, async (_, index) => {
        for (let round = index; !this.isOver; round += stride) {
          await act(index % count, round).catch(() => undefined);
          await sleep(5);
        }
      }),
    );
  }

  /** The same with one JSON request of each of the users. */
  everyone(request: (user: Person, round: number) => Asked, width = 2): Promise<void> {
    return this.swarm(
      this.users.length,
      async (attacker, round) => {
        const user = this.users[attacker]!;
        const [method, path, body, kind] = request(user, round);
        await this.ask(attacker, requestText(method, path, user.token, body), kind);
      },
      width,
    );
  }

  /** The same of strangers. */
  strangers(request: (stranger: number, round: number) => Asked, width = 1): Promise<void> {
    return this.swarm(
      STRANGERS,
      async (stranger, round) => {
        const [method, path, body, kind] = request(stranger, round);
        await this.ask(stranger, requestText(method, path, undefined, body), kind);
      },
      width,
    );
  }

  /** Each attacker has one. */
  #addressOf(attacker: number): string {
    return `127.0.${this.#block}.${1 + (attacker % 250)}`;
  }
}

/** The action of an attack. */
export type Act = (field: Battlefield) => Promise<unknown>;

/** What an attack has to come to. Outcomes are those of `Battlefield.outcomes`. */
export interface Outcomes {
  /**
   * Show that it reached what it is aimed at, each of them: what is refused at the door for another reason attacks nothing, however good the
   * figures look.
   */
  readonly expects: readonly string[];
  /** What it must not succeed in, or not more often than so. A 500 it never may. */
  readonly most?: Readonly<Record<string, number>>;
  /** What else than sending messages it may make worse for somebody else. */
  readonly suffers?: 'logins' | 'presence';
}

export interface Attack {
  readonly id: string;
  readonly title: string;
  readonly outcomes: Outcomes;
  /** Gets ready, without limits. */
  readonly prepare: (scene: Scene) => Promise<Act> | Act;
}

export const attack = (id: string, title: string, outcomes: Outcomes, prepare: Attack['prepare']): Attack => ({
  id,
  title,
  outcomes,
  prepare,
});

/** The head of a request, to be written as it stands. */
export const head = (method: string, path: string, more = ''): string =>
  `${method} ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;

export const bearer = ({ token }: Person): string => `Authorization: Bearer ${token}\r\n`;

/** A JSON request as text, with headers of its own. */
export const post = (path: string, body: unknown, more = '', method = 'POST'): string => {
  const json = typeof body === 'string' ? body : JSON.stringify(body);
  return (
    head(method, path, `${more}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(json)}\r\n`) + json
  );
};

export const accountData = ({ userId }: Person, type: string): string =>
  `${V3}/user/${part(userId)}/account_data/${type}`;
