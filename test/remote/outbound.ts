import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import type { LookupAddress } from 'node:dns';
import { systemClock } from '#src/kernel/clock.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { AddressGuard } from '#src/remote/address-guard.ts';
import { NameResolver } from '#src/remote/name-resolver.ts';
import type { OutboundAnswer, OutboundFailure, OutboundResult } from '#src/remote/outbound-result.ts';
import { OutboundHttp, type OutboundHttpOptions, type OutboundRequest } from '#src/remote/outbound-http.ts';

/** The names of this machine. */
export const names = new NameResolver({ clock: systemClock, nameServers: [] });

export const LOOPBACK = ['127.0.0.0/8', '::1/128'];

export const at = (address: string): LookupAddress => ({ address, family: address.includes(':') ? 6 : 4 });

export const get = (url: string, more: Partial<OutboundRequest> = {}): OutboundRequest => ({
  method: 'GET',
  url,
  allowHttp: true,
  ...more,
});

/** Servers of a test on the loopback interface, and clients that may reach them unless told otherwise. */
export class OutboundTest {
  readonly #clients: OutboundHttp[] = [];
  readonly #servers: Server[] = [];

  readonly listen = async (server: Server, address = '127.0.0.1', port = 0): Promise<number> => {
    this.#servers.push(server);
    await new Promise<void>((resolve) => {
      server.listen(port, address, resolve);
    });
    return (server.address() as AddressInfo).port;
  };

  readonly serve = async (handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> =>
    `http://127.0.0.1:${await this.listen(createServer(handler))}`;

  readonly client = (
    options: Partial<OutboundHttpOptions> & { deny?: string[]; allow?: string[] } = {},
  ): OutboundHttp => {
    const { deny = [], allow = [], ...rest } = options;
    const made = new OutboundHttp({
      guard: new AddressGuard({ deny, allow }),
      timers: systemTimers,
      userAgent: 'Tsudoi/test',
      resolve: names.addresses,
      ...rest,
    });
    this.#clients.push(made);
    return made;
  };

  readonly answered = async (result: Promise<OutboundResult>): Promise<OutboundAnswer> => {
    const settled = await result;
    if (!settled.ok) throw new Error(`${settled.kind}: ${settled.reason}`);
    return settled;
  };

  readonly failed = async (result: Promise<OutboundResult>): Promise<OutboundFailure> => {
    const settled = await result;
    if (settled.ok) throw new Error(`was answered with ${settled.status}`);
    return settled;
  };

  readonly kindOf = async (result: Promise<OutboundResult>): Promise<string> => (await this.failed(result)).kind;

  readonly stop = async (): Promise<void> => {
    await Promise.all(this.#clients.splice(0).map((made) => made.close()));
    for (const server of this.#servers.splice(0)) {
      if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function')
        server.closeAllConnections();
      server.close();
    }
  };
}
