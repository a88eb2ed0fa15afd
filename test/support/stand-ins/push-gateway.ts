import type { IncomingMessage, ServerResponse } from 'node:http';
import { LoopbackServer } from './loopback-server.ts';

/** What a push gateway was told. */
export interface Notified {
  readonly path: string;
  // What is expected in it the test says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly notification: any;
}

/** What it does with a notification: status and body, with headers perhaps, or `hang` for no answer at all. */
export type GatewayMood = readonly [number, unknown, Record<string, string>?] | 'hang';

/** A push gateway. It takes everything, unless `mood` says otherwise. */
export class PushGateway extends LoopbackServer {
  readonly notified: Notified[] = [];
  mood: (notified: Notified) => GatewayMood | Promise<GatewayMood> = () => [200, { rejected: [] }];
  /** Requests at once, now and at most. */
  open = 0;
  maxOpen = 0;
  static async start(): Promise<PushGateway> {
    const gateway = new PushGateway();
    await gateway.listen();
    return gateway;
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

  protected async serve(request: IncomingMessage, text: string, response: ServerResponse): Promise<void> {
    this.open += 1;
    this.maxOpen = Math.max(this.maxOpen, this.open);
    response.on('close', () => (this.open -= 1));
    const notified = { path: request.url ?? '', notification: JSON.parse(text).notification };
    this.notified.push(notified);
    const mood = await this.mood(notified);
    if (mood === 'hang') return;
    const [status, body, headers = {}] = mood;
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(typeof body === 'string' ? body : JSON.stringify(body));
  }
}
