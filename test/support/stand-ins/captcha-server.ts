import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { LoopbackServer } from './loopback-server.ts';

const path = (name: string): string => fileURLToPath(new URL(`../certificates/${name}`, import.meta.url));

/** A captcha verification service, over TLS: it accepts one secret and one response. */
export class CaptchaServer extends LoopbackServer {
  static readonly SECRET = 'secret key';
  static readonly SOLVED = 'solved';
  /** The forms that it received. */
  readonly asked: URLSearchParams[] = [];
  /** Its answer instead: a status and a body, or `hang` for none. */
  instead: readonly [number, string] | 'hang' | undefined;

  private constructor() {
    super({ cert: readFileSync(path('loopback.crt')), key: readFileSync(path('loopback.key')) });
  }

  static async start(): Promise<CaptchaServer> {
    const captcha = new CaptchaServer();
    await captcha.listen();
    return captcha;
  }

  get url(): string {
    return `https://localhost:${this.port}/siteverify`;
  }

  protected async serve(_request: IncomingMessage, text: string, response: ServerResponse): Promise<void> {
    const form = new URLSearchParams(text);
    this.asked.push(form);
    if (this.instead === 'hang') return;
    const [status, body] = this.instead ?? [200, JSON.stringify(verdictOf(form))];
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
  }
}

const verdictOf = (form: URLSearchParams): object => {
  if (form.get('secret') !== CaptchaServer.SECRET) return { success: false, 'error-codes': ['invalid-input-secret'] };
  if (form.get('response') !== CaptchaServer.SOLVED)
    return { success: false, 'error-codes': ['invalid-input-response'] };
  return { success: true, hostname: 'test' };
};
