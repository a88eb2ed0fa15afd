import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { recorder } from './schema-recorder.ts';

/** What an application service was asked. */
export interface AskedOfAppservice {
  readonly method: string;
  /** Decoded, without the query. */
  readonly path: string;
  /** As it was sent. */
  readonly target: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  // What is expected in it the test says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

/** What it answers: status and JSON, or `hang` for no answer at all. */
export type AppserviceAnswer = readonly [status: number, body: unknown] | 'hang';

/** A registration in the specification's spelling, for a service of that name. */
export const registrationOf = (name: string, more: Readonly<Record<string, unknown>> = {}) => ({
  id: name,
  url: null as string | null,
  as_token: `as_token_of_${name}`,
  hs_token: `hs_token_of_${name}`,
  sender_localpart: `_${name}_bot`,
  namespaces: {
    users: [{ exclusive: true, regex: `@_${name}_.*` }],
    aliases: [{ exclusive: true, regex: `#_${name}_.*` }],
    rooms: [],
  },
  ...more,
});

/** An application service on the loopback interface. It takes everything, unless `answer` says otherwise. */
export class StubAppservice {
  readonly asked: AskedOfAppservice[] = [];
  answer: (asked: AskedOfAppservice) => AppserviceAnswer | Promise<AppserviceAnswer> = () => [200, {}];
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<StubAppservice> {
    const stub = new StubAppservice();
    await stub.listen(0);
    return stub;
  }

  listen(port: number): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen(port, '127.0.0.1', resolve);
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** What it was asked since the last time. */
  take(): AskedOfAppservice[] {
    return this.asked.splice(0);
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
    const { headers, method = '', url: target = '' } = request;
    const { pathname, searchParams } = new URL(target, 'http://localhost');
    const body: unknown = text === '' ? undefined : JSON.parse(text);
    const asked = { method, target, path: decodeURIComponent(pathname), query: searchParams, headers, body };
    this.asked.push(asked);
    recorder.recordRequest(method, target, body);
    const answer = await this.answer(asked);
    if (answer === 'hang') return;
    response.writeHead(answer[0], { 'content-type': 'application/json' });
    response.end(typeof answer[1] === 'string' ? answer[1] : JSON.stringify(answer[1]));
  }
}
