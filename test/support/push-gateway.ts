import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a push gateway was told. */
export interface Notified {
  readonly path: string;
  // What is expected in it the test says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly notification: any;
}

/** What it does with a notification: status and body, with headers perhaps, or `hang` for no answer at all. */
export type GatewayMood = readonly [number, unknown, Record<string, string>?] | 'hang';

/** A push gateway on the loopback interface. It takes everything, unless `mood` says otherwise. */
export class PushGateway {
  readonly notified: Notified[] = [];
  mood: (notified: Notified) => GatewayMood | Promise<GatewayMood> = () => [200, { rejected: [] }];
  /** Requests at once, now and at most. */
  open = 0;
  mostOpen = 0;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<PushGateway> {
    const gateway = new PushGateway();
    await gateway.listen(0);
    return gateway;
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
    return `http://127.0.0.1:${this.port}/_matrix/push/v1/notify`;
  }

  /** The bodies of the messages that were pushed, in this order. */
  get bodies(): string[] {
    return this.notified.flatMap(({ notification }) => notification.content?.body ?? []);
  }

  /** What was told since the last time. */
  // oxlint-disable-next-line typescript/no-explicit-any
  take(): any[] {
    return this.notified.splice(0).map(({ notification }) => notification);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.open += 1;
    this.mostOpen = Math.max(this.mostOpen, this.open);
    response.on('close', () => (this.open -= 1));
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const notified = { path: request.url ?? '', notification: JSON.parse(text).notification };
    this.notified.push(notified);
    const mood = await this.mood(notified);
    if (mood === 'hang') return;
    const [status, body, headers = {}] = mood;
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  }
}
