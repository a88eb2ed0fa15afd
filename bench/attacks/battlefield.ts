import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { HttpConnection, requestText, type Answer, type Endpoint } from '../load/http.ts';
import { WebSocket } from 'ws';
import type { Crowd, Person } from '../load/people.ts';
import type { PartnerServer } from '../load/partner-server.ts';
import { STREAM_PATH, STREAM_SUBPROTOCOL } from '../load/socket.ts';

/** How many do it: strangers without an account, each with an address of its own, or users. */
export const STRANGERS = 100;
export const USERS = 10;

export const V3 = '/_matrix/client/v3';
export const part = encodeURIComponent;

/** The address of a reverse proxy that the server trusts: what comes from it speaks for whom it likes. */
export const PROXY = '127.0.1.1';

/** Where attacks are prepared, before the limits hold. */
export interface Scene {
  readonly crowd: Crowd;
  /** Another server. */
  readonly partner: PartnerServer;
  /** Somebody who attacks nobody. */
  readonly victim: Person;
  /** Users who do this and nothing else. */
  readonly users: readonly Person[];
  /** Where they are, and nobody else. */
  readonly room: string;
  /** One of many members, where they are too. */
  readonly largeRoom: string;
}

/** Where an attack takes place, while it does. */
export class Battlefield {
  readonly endpoint: Endpoint;
  readonly users: readonly Person[];
  readonly #block: number;
  #isOver = false;
  readonly #sockets = new Set<Socket>();
  readonly #idle = new Map<number, HttpConnection[]>();
  readonly #connections: HttpConnection[] = [];
  readonly #webSockets = new Set<WebSocket>();
  /** Answers by status, and connections that were closed without one. */
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

  /** Connects from an attacker's own address, and writes; what comes back is read only when somebody listens. */
  open(attacker: number, text: string | Buffer = '', localAddress = this.#addressOf(attacker)): Socket {
    const socket = connect({ ...this.endpoint, localAddress });
    this.#sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => this.#sockets.delete(socket));
    if (text.length > 0) socket.write(text);
    return socket;
  }

  /** Writes to a connection as fast as it takes it. Resolves when it is closed. */
  pour(attacker: number, begin: string, more: Buffer, localAddress?: string): Promise<void> {
    return new Promise((resolve) => {
      const socket = this.open(attacker, begin, localAddress);
      const write = (): void => {
        while (!socket.destroyed && !this.isOver && socket.write(more));
      };
      socket
        .on('drain', write)
        .on('connect', write)
        .on('close', () => resolve());
      socket.resume();
    });
  }

  /** One request of an attacker on a connection that is kept. Undefined where it was closed instead of an answer. */
  async ask(attacker: number, request: string): Promise<Answer | undefined> {
    const idle = this.#idle.get(attacker) ?? [];
    this.#idle.set(attacker, idle);
    let connection = idle.pop();
    if (connection === undefined) {
      connection = new HttpConnection(this.endpoint, { localAddress: this.#addressOf(attacker), timeoutMs: 20_000 });
      this.#connections.push(connection);
    }
    const answer = await connection.send(request).catch(() => undefined);
    const outcome = answer === undefined ? 'closed' : String(answer.status);
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
    idle.push(connection);
    return answer;
  }

  /** A WebSocket of a user, who has been let in. */
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

  /** Sends frames on a socket as fast as it takes them, until it is closed. */
  async frames(attacker: number, frame: (round: number) => object, pause = 1): Promise<void> {
    const socket = await this.webSocket(attacker);
    for (let round = 0; !this.isOver && socket.readyState === socket.OPEN; round += 1) {
      socket.send(JSON.stringify(frame(round)));
      if (round % 10 === 9) await sleep(pause);
    }
  }

  /** Does something again and again for each of `count` attackers until it is over; `width` times at once. */
  async swarm(count: number, act: (attacker: number, round: number) => Promise<unknown>, width = 1): Promise<void> {
    await Promise.all(
      Array.from({ length: count * width }, async (_, index) => {
        for (let round = index; !this.isOver; round += count * width) {
          await act(index % count, round).catch(() => undefined);
          await sleep(5);
        }
      }),
    );
  }

  /** The same with one JSON request of each of the users. */
  everyone(
    request: (user: Person, round: number) => readonly [method: string, path: string, body?: unknown],
    width = 2,
  ): Promise<void> {
    return this.swarm(
      this.users.length,
      async (attacker, round) => {
        const user = this.users[attacker]!;
        const [method, path, body] = request(user, round);
        await this.ask(attacker, requestText(method, path, user.token, body));
      },
      width,
    );
  }

  /** The same of strangers. */
  strangers(
    request: (stranger: number, round: number) => readonly [method: string, path: string, body?: unknown],
    width = 1,
  ): Promise<void> {
    return this.swarm(
      STRANGERS,
      async (stranger, round) => {
        const [method, path, body] = request(stranger, round);
        await this.ask(stranger, requestText(method, path, undefined, body));
      },
      width,
    );
  }

  /** Each attacker has one. */
  #addressOf(attacker: number): string {
    return `127.0.${this.#block}.${1 + (attacker % 250)}`;
  }
}

/** What is done while the time runs. */
export type Act = (field: Battlefield) => Promise<unknown>;

export interface Attack {
  readonly id: string;
  readonly title: string;
  /** Gets ready, without limits. */
  readonly prepare: (scene: Scene) => Promise<Act> | Act;
}

export const attack = (id: string, title: string, prepare: Attack['prepare']): Attack => ({ id, title, prepare });

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
