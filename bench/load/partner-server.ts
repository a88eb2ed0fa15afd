import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemRandom } from '#src/kernel/random.ts';
import { buildPdu } from '#src/protocol/events/build-pdu.ts';
import { eventId } from '#src/protocol/events/event-hashes.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { signRequest } from '#src/protocol/signing/request-signature.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { type Endpoint } from './http.ts';

const certificate = (name: string): string =>
  new URL(`../../test/support/certificates/${name}`, import.meta.url).pathname;
const NAME = 'p.test';
const SERVER = 'localhost';
const VERSIONS = ['10', '11', '12'];
/** Shorter than `retry_after_ms`, so that the server is always busy. */
const AGAIN_MS = 20;

const SILENT = 'silent';
/** Servers that accept connections and never respond. */
export const SILENT_SERVERS = Array.from({ length: 200 }, (_, index) => `${SILENT}${index}.test`);
/** Names of the partner itself: so many servers that answer as much as they like. */
export const LOUD_SERVERS = Array.from({ length: 200 }, (_, index) => `loud${index}.servers.test`);
export const PARTNER_NAME = NAME;

const endlessly = (response: ServerResponse): void => {
  const more = `{"a":"${'x'.repeat(60_000)}",`;
  const pour = (): void => {
    while (!response.destroyed && response.write(more));
  };
  response.on('drain', pour);
  pour();
};

/** A room as the partner knows it: enough of it to send messages. */
export interface PartnerRoom {
  readonly roomId: string;
  readonly version: RoomVersion;
  readonly auth: readonly string[];
  last: IdentifiedPdu;
}

/** A simulated remote server: it publishes its key, joins rooms, and sends events of one user. */
export class PartnerServer {
  readonly #signingKey = generateSigningKey((count) => systemRandom.bytes(count));
  readonly #server: Server;
  readonly #endpoint: Endpoint;
  #transactions = 0;
  /** Whether its responses are endless, except for its key. */
  isHarmful = false;
  /** Further handlers. @returns false for an unknown request */
  answer: (method: string, url: URL, response: ServerResponse) => boolean = () => false;

  private constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    const key = readFileSync(certificate('federation.key'));
    this.#server = createServer({ cert: readFileSync(certificate('federation.crt')), key }, (request, response) => {
      response.setHeader('content-type', 'application/json');
      response.on('error', () => undefined);
      const isOfKeys = request.url === '/_matrix/key/v2/server';
      if (request.headers.host?.startsWith(SILENT) === true) return;
      if (isOfKeys) response.end(this.#keys());
      else if (this.answer(request.method ?? '', new URL(request.url ?? '', 'https://p.test'), response)) return;
      else if (this.isHarmful) endlessly(response);
      else response.end('{}');
    });
  }

  static async start(endpoint: Endpoint): Promise<PartnerServer> {
    const partner = new PartnerServer(endpoint);
    partner.#server.listen(0, '127.0.0.1');
    await once(partner.#server, 'listening');
    return partner;
  }

  /** Environment variables for the server under test. */
  get environment(): Readonly<Record<string, string>> {
    const { port } = this.#server.address() as AddressInfo;
    return {
      TSUDOI_FEDERATION__STATIC_HOSTS: [NAME, ...SILENT_SERVERS, ...LOUD_SERVERS]
        .map((name) => `${name}=127.0.0.1:${port}`)
        .join(','),
      TSUDOI_FEDERATION__TRUSTED_CA_FILES: certificate('authority.crt'),
      TSUDOI_FEDERATION__ALLOW_IP_RANGES: '127.0.0.0/8',
    };
  }

  get user(): string {
    return `@pat:${NAME}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** @param userId another one of its users */
  async join(roomId: string, userId = this.user): Promise<PartnerRoom> {
    const room = encodeURIComponent(roomId);
    const query = VERSIONS.map((version) => `ver=${version}`).join('&');
    const template = await this.#send('GET', `/_matrix/federation/v1/make_join/${room}/${userId}?${query}`);
    const { event, room_version: id } = template as { event: Pdu; room_version: string };
    const version = roomVersion(id);
    if (version === undefined) throw new Error(`there is no room version ${id}`);
    const join = this.build(version, roomId, {
      type: event.type,
      content: event.content,
      sender: userId,
      stateKey: userId,
      depth: event.depth,
      prev: event.prev_events as readonly string[],
      auth: event.auth_events as readonly string[],
    });
    const path = `/_matrix/federation/v2/send_join/${room}/${encodeURIComponent(join.eventId)}`;
    const { state } = (await this.#send('PUT', path, join.pdu)) as { state: Pdu[] };
    const wanted = version.auth.createEventSelected
      ? ['m.room.create', 'm.room.power_levels']
      : ['m.room.power_levels'];
    const auth = state.filter(({ type }) => wanted.includes(type)).map((pdu) => eventId(version, pdu));
    return { roomId, version, auth: [...auth, join.eventId], last: join };
  }

  /** The next message of a room. */
  say(room: PartnerRoom, body: string): Pdu {
    const { pdu: last, eventId: prev } = room.last;
    room.last = this.build(room.version, room.roomId, {
      type: 'm.room.message',
      content: { msgtype: 'm.text', body },
      depth: last.depth + 1,
      prev: [prev],
      auth: room.auth,
    });
    return room.last.pdu;
  }

  /** The next state event of a room. */
  setState(room: PartnerRoom, type: string, stateKey: string, content: JsonObject): Pdu {
    const { pdu: last, eventId: prev } = room.last;
    const draft = { type, stateKey, content, depth: last.depth + 1, prev: [prev], auth: room.auth };
    room.last = this.build(room.version, room.roomId, draft);
    return room.last.pdu;
  }

  /** Sends events. Where the other server has as many as it wants to have waiting, the same is sent again a little later. */
  async transact(pdus: readonly Pdu[]): Promise<void> {
    this.#transactions += 1;
    await this.#send('PUT', `/_matrix/federation/v1/send/${this.#transactions}`, {
      origin: NAME,
      origin_server_ts: Date.now(),
      pdus,
    });
  }

  /** A request signed in the name of a server, as text to be written to a connection. */
  signed(method: 'GET' | 'PUT', uri: string, content?: JsonObject, origin = NAME): string {
    const { authorization, body = '' } = signRequest(
      { method, uri, origin, destination: SERVER, content },
      this.#signingKey,
    );
    return `${method} ${uri} HTTP/1.1\r\nHost: t\r\nAuthorization: ${authorization}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
  }

  /** A message with unknown prev_events. */
  sayAfter(room: PartnerRoom, body: string, prev: readonly string[]): Pdu {
    return this.build(room.version, room.roomId, {
      type: 'm.room.message',
      content: { msgtype: 'm.text', body },
      depth: room.last.pdu.depth + 1,
      prev,
      auth: room.auth,
    }).pdu;
  }

  /** An event of its user, or of another one of its users, signed. */
  build(
    version: RoomVersion,
    roomId: string,
    draft: {
      readonly type: string;
      readonly content: JsonObject;
      readonly sender?: string;
      readonly stateKey?: string;
      readonly depth: number;
      readonly prev: readonly string[];
      readonly auth: readonly string[];
    },
  ): IdentifiedPdu {
    const { auth, content, depth, prev, sender = this.user, stateKey, type } = draft;
    return buildPdu(
      version,
      {
        type,
        sender,
        roomId,
        content,
        originServerTs: Date.now(),
        depth,
        prevEvents: prev,
        authEvents: auth,
        ...(stateKey === undefined ? {} : { stateKey }),
      },
      { serverName: NAME, signingKey: this.#signingKey },
    );
  }

  async #send(method: 'GET' | 'PUT', uri: string, content?: JsonObject): Promise<JsonObject> {
    const signed = signRequest({ method, uri, origin: NAME, destination: SERVER, content }, this.#signingKey);
    const ask = (): Promise<Response> =>
      fetch(`http://${this.#endpoint.host}:${this.#endpoint.port}${uri}`, {
        method,
        headers: { authorization: signed.authorization, 'content-type': 'application/json' },
        ...(signed.body === undefined ? {} : { body: signed.body }),
      });
    let answer = await ask();
    while (answer.status === 429) {
      await answer.arrayBuffer();
      await sleep(AGAIN_MS);
      answer = await ask();
    }
    if (answer.status !== 200) throw new Error(`${method} ${uri}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as JsonObject;
  }

  #keys(): string {
    const { keyId, publicKey } = this.#signingKey;
    const keys = {
      server_name: NAME,
      valid_until_ts: Date.now() + 86_400_000,
      verify_keys: { [keyId]: { key: publicKey } },
      old_verify_keys: {},
    };
    return canonicalJson(signJson(keys, NAME, this.#signingKey));
  }
}
