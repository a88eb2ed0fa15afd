import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import nacl from 'tweetnacl';

const path = (name: string): string => fileURLToPath(new URL(`../certificates/${name}`, import.meta.url));

/** The self-signed certificate of `localhost` and 127.0.0.1. */
export const LOOPBACK_CA_FILE = path('loopback.crt');

/** A request that the identity server received. */
export interface IdentityRequest {
  readonly path: string;
  readonly token: string | undefined;
  // What is expected in it the test says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

/** A replaced answer: status and body, or `hang` for none. */
type Replacement = readonly [number, unknown] | 'hang';

/** An identity server on the loopback interface: Identity Service API v2 as far as inviting needs it, over TLS. */
export class IdentityServer {
  readonly asked: IdentityRequest[] = [];
  /** `address medium` -> user id. */
  readonly bindings = new Map<string, string>();
  readonly longTerm = nacl.sign.keyPair();
  algorithms: readonly string[] = ['none', 'sha256'];
  pepper = 'matrixrocks';
  token = 'identity token';
  /** Sessions that were validated here: sid -> `address medium`. */
  readonly sessions = new Map<string, string>();
  /** By path: answers to give instead of the right ones, in order. */
  readonly replacements = new Map<string, Replacement[]>();
  readonly #server: Server;
  #invites = 0;

  private constructor() {
    const files = { cert: readFileSync(path('loopback.crt')), key: readFileSync(path('loopback.key')) };
    this.#server = createServer(files, (request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<IdentityServer> {
    const identity = new IdentityServer();
    await new Promise<void>((resolve) => {
      identity.#server.listen(0, '127.0.0.1', resolve);
    });
    return identity;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** `host:port`, as clients give it in `id_server`. */
  get name(): string {
    return `localhost:${this.port}`;
  }

  /** The signed part of a stored invitation, as it is sent when the address is bound to a user. */
  proof(mxid: string, invitationToken: string): object {
    const signed = { mxid, token: invitationToken };
    const signature = nacl.sign.detached(Buffer.from(JSON.stringify(signed)), this.longTerm.secretKey);
    const base64 = Buffer.from(signature).toString('base64').replaceAll('=', '');
    return { ...signed, signatures: { [this.name]: { 'ed25519:0': base64 } } };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const where = (request.url ?? '').replace('/_matrix/identity/v2', '');
    const body = text === '' ? undefined : JSON.parse(text);
    const token = request.headers.authorization?.replace(/^Bearer /, '');
    this.asked.push({ path: where, token, body });
    const replacement = this.replacements.get(where)?.shift();
    if (replacement === 'hang') return;
    const [status, answer] = replacement ?? this.#answer(`${request.method} ${where}`, token, body);
    response.writeHead(status, { 'Content-Type': 'application/json' });
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  }

  #answer(what: string, token: string | undefined, body: IdentityRequest['body']): readonly [number, unknown] {
    // Unbinding is signed by the homeserver, and has no token.
    if (what === 'POST /3pid/unbind') {
      const { medium, address } = body.threepid;
      if (!token?.startsWith('X-Matrix origin=')) return [403, { errcode: 'M_FORBIDDEN', error: 'unsigned' }];
      this.bindings.delete(`${address} ${medium}`);
      return [200, {}];
    }
    if (what.startsWith('GET /pubkey/')) return [200, { valid: true }];
    if (token !== this.token) return [401, { errcode: 'M_UNAUTHORIZED', error: 'no' }];
    if (what === 'GET /hash_details') return [200, { lookup_pepper: this.pepper, algorithms: this.algorithms }];
    if (what === 'POST /lookup') {
      if (body.pepper !== this.pepper) return [400, { errcode: 'M_INVALID_PEPPER', error: 'rotated' }];
      if (!this.algorithms.includes(body.algorithm)) return [400, { errcode: 'M_INVALID_PARAM', error: 'unknown' }];
      const queryOf = (bound: string): string =>
        body.algorithm === 'none' ? bound : createHash('sha256').update(`${bound} ${this.pepper}`).digest('base64url');
      const found = [...this.bindings].map(([bound, userId]) => [queryOf(bound), userId] as const);
      return [200, { mappings: Object.fromEntries(found.filter(([query]) => body.addresses.includes(query))) }];
    }
    if (what === 'POST /3pid/bind') {
      const bound = this.sessions.get(body.sid);
      if (bound === undefined) return [404, { errcode: 'M_NO_VALID_SESSION', error: 'no such session' }];
      const [address, medium] = bound.split(' ');
      this.bindings.set(bound, body.mxid);
      return [200, { address, medium, mxid: body.mxid, not_before: 0, not_after: 1, ts: 0, signatures: {} }];
    }
    if (what !== 'POST /store-invite') return [404, { errcode: 'M_UNRECOGNIZED', error: 'what?' }];
    const url = `https://${this.name}/_matrix/identity/v2/pubkey`;
    const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64').replaceAll('=', '');
    const publicKeys = [
      { public_key: base64(this.longTerm.publicKey), key_validity_url: `${url}/isvalid` },
      { public_key: base64(nacl.sign.keyPair().publicKey), key_validity_url: `${url}/ephemeral/isvalid` },
    ];
    this.#invites += 1;
    return [200, { token: `stored_${this.#invites}`, public_keys: publicKeys, display_name: 's...@m...' }];
  }
}
