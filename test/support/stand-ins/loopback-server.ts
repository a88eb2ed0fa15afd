import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';

/** Somebody whom the server asks over HTTP, on the loopback interface. What it answers to what, its subclass says. */
export abstract class LoopbackServer {
  readonly #server: Server;

  /** @param tls certificate and key, for one that is asked over TLS */
  protected constructor(tls?: { readonly cert: Buffer; readonly key: Buffer }) {
    const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      let text = '';
      for await (const chunk of request) text += String(chunk);
      await this.serve(request, text, response);
    };
    this.#server = tls === undefined ? createServer(serve) : createTlsServer(tls, serve);
  }

  /** @param text the body */
  protected abstract serve(request: IncomingMessage, text: string, response: ServerResponse): Promise<void>;

  listen(port = 0): Promise<void> {
    return new Promise((resolve) => {
      this.#server.listen(port, '127.0.0.1', resolve);
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}
