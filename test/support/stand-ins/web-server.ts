import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';

export type Route = (request: IncomingMessage, response: ServerResponse) => void;

/** A site of the web, on a loopback address of its own. */
export class WebServer {
  /** Paths that it was asked for, with what was said of the asker. */
  readonly asked: { readonly path: string; readonly headers: IncomingHttpHeaders }[] = [];
  readonly routes = new Map<string, Route>();
  connections = 0;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      const path = request.url ?? '';
      this.asked.push({ path, headers: request.headers });
      const route = this.routes.get(path);
      if (route === undefined) response.writeHead(404).end();
      else route(request, response);
    });
    this.#server.on('connection', () => (this.connections += 1));
  }

  static async start(address: string): Promise<WebServer> {
    const web = new WebServer();
    await new Promise<void>((resolve) => {
      web.#server.listen(0, address, resolve);
    });
    return web;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://${(this.#server.address() as AddressInfo).address}:${this.port}`;
  }

  /** Serves a page, or anything else. Returns its URL. */
  serve(path: string, content: string | Uint8Array, contentType = 'text/html; charset=utf-8'): string {
    this.routes.set(path, (_request, response) => {
      response.writeHead(200, { 'Content-Type': contentType }).end(content);
    });
    return this.url + path;
  }

  redirect(path: string, location: string, status = 302): string {
    this.routes.set(path, (_request, response) => {
      // Headers are bytes.
      response.writeHead(status, { Location: Buffer.from(location).toString('latin1') }).end();
    });
    return this.url + path;
  }

  /** How often a path was asked for. */
  count(path: string): number {
    return this.asked.filter((one) => one.path === path).length;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}
