import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { systemRandom } from '#src/kernel/random.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { signRequest } from '#src/protocol/signing/request-signature.ts';
import { generateSigningKey, type SigningKey } from '#src/protocol/signing/signing-key.ts';
import type { ManualClock } from '#test/support/manual-clock.ts';
import { federationFetch } from './federation-fetch.ts';
import type { Answer, Sent } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

const certificate = (name: string): Buffer => readFileSync(new URL(`../certificates/${name}`, import.meta.url));

/** What a partner answers: a body with status 200, a status and a body, or whatever the function writes itself. */
export type PartnerAnswer =
  | { readonly status?: number; readonly body?: unknown; readonly headers?: Readonly<Record<string, string>> }
  | undefined;

/** A request that came to a partner. */
export interface PartnerRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage['headers'];
  /** Undefined where there was no JSON. */
  // What a test expects in a body it says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
  /** For answers that are no JSON: what writes to it returns undefined. */
  readonly response: ServerResponse;
}

export type PartnerRoute = (request: PartnerRequest) => PartnerAnswer | Promise<PartnerAnswer>;

export interface RemotePartnerOptions {
  readonly serverName: string;
  readonly clock: ManualClock;
  readonly signingKey?: SigningKey;
  /** Names of files in test/support/certificates, without their endings. */
  readonly certificate?: string;
}

/**
 * A server of another making, as a test scripts it: it publishes its keys, signs what it sends, and answers what the test says. What nobody has
 * said anything about is answered 404 M_UNRECOGNIZED.
 */
export class RemotePartner {
  readonly serverName: string;
  readonly signingKey: SigningKey;
  readonly clock: ManualClock;
  /** Everything that was asked of it. */
  readonly asked: PartnerRequest[] = [];
  readonly #routes: { readonly method: string; readonly path: RegExp; readonly route: PartnerRoute }[] = [];
  readonly #server: Server;
  /** Where other servers are reached: their URLs by name. */
  readonly #reach: (serverName: string) => string;

  private constructor(options: RemotePartnerOptions, reach: (serverName: string) => string) {
    this.serverName = options.serverName;
    this.clock = options.clock;
    this.signingKey = options.signingKey ?? generateSigningKey((count) => systemRandom.bytes(count));
    this.#reach = reach;
    const name = options.certificate ?? 'federation';
    this.#server = createServer(
      { cert: certificate(`${name}.crt`), key: certificate(`${name}.key`) },
      (request, response) => void this.#answer(request, response),
    );
    this.on('GET', '/_matrix/key/v2/server', () => ({ body: this.publishedKeys() }));
  }

  static async start(options: RemotePartnerOptions, reach: (serverName: string) => string): Promise<RemotePartner> {
    const partner = new RemotePartner(options, reach);
    partner.#server.listen(0, '127.0.0.1');
    await once(partner.#server, 'listening');
    return partner;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /**
   * Says what is answered; what is said later goes before what was said earlier.
   *
   * @param path as a text, with `*` for one segment and `**` for any, or as an expression over the whole path
   */
  on(method: string, path: string | RegExp, route: PartnerRoute): void {
    const pattern =
      typeof path === 'string'
        ? new RegExp(
            `^${path.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/\*\*?/g, (star) => (star === '*' ? '[^/]*' : '.*'))}$`,
          )
        : path;
    this.#routes.unshift({ method, path: pattern, route });
  }

  /** The requests of a path that came so far. */
  requests(method: string, path: RegExp): PartnerRequest[] {
    return this.asked.filter((one) => one.method === method && path.test(one.path));
  }

  /** The first request that is meant, as soon as it is there. */
  async request(
    method: string,
    path: RegExp,
    isMeant: (request: PartnerRequest) => boolean = () => true,
  ): Promise<PartnerRequest> {
    return until(`${method} ${path.source} at ${this.serverName}`, () => this.requests(method, path).find(isMeant));
  }

  /** What it answers for its keys. @param changes what is said otherwise, before it is signed */
  publishedKeys(changes: JsonObject = {}, keys: readonly SigningKey[] = [this.signingKey]): JsonObject {
    let answer: JsonObject = {
      server_name: this.serverName,
      valid_until_ts: this.clock.now() + 24 * 3_600_000,
      verify_keys: Object.fromEntries(keys.map(({ keyId, publicKey }) => [keyId, { key: publicKey }])),
      old_verify_keys: {},
      ...changes,
    };
    for (const key of keys) answer = signJson(answer, this.serverName, key);
    return answer;
  }

  /** Sends a request that it has signed. @param path with its query */
  async send(
    destination: string,
    method: 'GET' | 'PUT' | 'POST',
    path: string,
    content?: JsonObject,
    sent: Pick<Sent, 'headers' | 'raw'> = {},
  ): Promise<Answer> {
    const { authorization, body } = signRequest(
      { method, uri: path, origin: this.serverName, destination, content },
      this.signingKey,
    );
    return federationFetch(this.#reach(destination), method, path, {
      ...(body === undefined ? {} : { raw: body }),
      ...sent,
      headers: { authorization, ...sent.headers },
    });
  }

  /** Sends a transaction. */
  async transact(
    destination: string,
    {
      edus = [],
      pdus = [],
      txnId = systemRandom.string(12),
    }: { pdus?: readonly unknown[]; edus?: readonly unknown[]; txnId?: string },
  ): Promise<Answer> {
    return this.send(destination, 'PUT', `/_matrix/federation/v1/send/${txnId}`, {
      origin: this.serverName,
      origin_server_ts: this.clock.now(),
      pdus,
      edus,
    } as unknown as JsonObject);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
    // Errors that were logged lead here by the functions on their stacks, and the rooms that it told of are large.
    this.#routes.length = 0;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of request) chunks.push(chunk as Buffer);
    } catch {
      return;
    }
    const { pathname, searchParams } = new URL(request.url ?? '/', 'https://partner');
    const text = Buffer.concat(chunks).toString();
    const asked: PartnerRequest = {
      method: request.method ?? 'GET',
      path: pathname,
      query: searchParams,
      headers: request.headers,
      body: text === '' ? undefined : JSON.parse(text),
      response,
    };
    this.asked.push(asked);
    const route = this.#routes.find(({ method, path }) => method === asked.method && path.test(asked.path))?.route;
    const unknown: PartnerAnswer = {
      status: 404,
      body: { errcode: 'M_UNRECOGNIZED', error: 'The partner does not know that.' },
    };
    const answer = route === undefined ? unknown : await route(asked);
    if (answer === undefined || response.destroyed) return;
    const { body = {}, headers = {}, status = 200 } = answer;
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(
      typeof body === 'string' || Buffer.isBuffer(body) ? body : canonicalJson(body as JsonObject, 'lenient'),
    );
  }
}
