import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { LoopbackServer } from './loopback-server.ts';
import { recorder } from '#test/support/schema-recorder.ts';

/** A request that an application service received. */
export interface AskedOfAppservice {
  readonly method: string;
  /** Decoded, without the query. */
  readonly path: string;
  /** The path as it was sent. */
  readonly target: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  // What is expected in it the test says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

/** Its answer: status and JSON, or `hang` for none. */
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

/** An application service. It accepts everything, unless `answer` says otherwise. */
export class StubAppservice extends LoopbackServer {
  readonly asked: AskedOfAppservice[] = [];
  answer: (asked: AskedOfAppservice) => AppserviceAnswer | Promise<AppserviceAnswer> = () => [200, {}];
  static async start(): Promise<StubAppservice> {
    const stub = new StubAppservice();
    await stub.listen();
    return stub;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** The requests since the last call. */
  take(): AskedOfAppservice[] {
    return this.asked.splice(0);
  }

  protected async serve(request: IncomingMessage, text: string, response: ServerResponse): Promise<void> {
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
