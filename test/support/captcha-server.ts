import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';

const path = (name: string): string => fileURLToPath(new URL(`certificates/${name}`, import.meta.url));

/** The service that says whether a captcha was solved, on the loopback interface, over TLS: it knows one secret and one response. */
export class CaptchaServer {
  static readonly SECRET = 'secret key';
  static readonly SOLVED = 'solved';
  /** The forms that it was sent. */
  readonly asked: URLSearchParams[] = [];
  /** What it answers instead: a status and a body, or `hang` for nothing at all. */
  instead: readonly [number, string] | 'hang' | undefined;
  readonly #server: Server;

  private constructor() {
    const files = { cert: readFileSync(path('loopback.crt')), key: readFileSync(path('loopback.key')) };
    this.#server = createServer(files, async (request, response) => {
      let text = '';
      for await (const chunk of request) text += String(chunk);
      const form = new URLSearchParams(text);
      this.asked.push(form);
      if (this.instead === 'hang') return;
      const [status, body] = this.instead ?? [200, JSON.stringify(verdictOf(form))];
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
    });
  }

  static async start(): Promise<CaptchaServer> {
    const captcha = new CaptchaServer();
    await new Promise<void>((resolve) => {
      captcha.#server.listen(0, '127.0.0.1', resolve);
    });
    return captcha;
  }

  get url(): string {
    return `https://localhost:${(this.#server.address() as AddressInfo).port}/siteverify`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => {
      this.#server.close(resolve);
    });
  }
}

const verdictOf = (form: URLSearchParams): object => {
  if (form.get('secret') !== CaptchaServer.SECRET) return { success: false, 'error-codes': ['invalid-input-secret'] };
  if (form.get('response') !== CaptchaServer.SOLVED)
    return { success: false, 'error-codes': ['invalid-input-response'] };
  return { success: true, hostname: 'test' };
};
