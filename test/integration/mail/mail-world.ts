import {
  type Answer,
  type ConfigChanges,
  InProcessServer,
  type InProcessServerOptions,
  type Json,
} from '#test/support/in-process-server.ts';
import { linkOf, MailServer, type ReceivedMail } from '#test/support/stand-ins/mail-server.ts';

export const PASSWORD = 'correct horse battery';

/** The server, and the one that takes its mail. */
export class MailWorld {
  readonly app: InProcessServer;
  readonly mail: MailServer;
  #count = 0;

  private constructor(app: InProcessServer, mail: MailServer) {
    this.app = app;
    this.mail = mail;
  }

  static async start(
    config: ConfigChanges = {},
    options: Omit<InProcessServerOptions, 'config'> = {},
  ): Promise<MailWorld> {
    const mail = await MailServer.start();
    const email = {
      smtpUrl: mail.url,
      starttls: 'none',
      from: 'Tsudoi <noreply@tsudoi.test>',
      ...config.email,
    } as const;
    const app = await InProcessServer.start({ ...options, config: { ...config, email } });
    return new MailWorld(app, mail);
  }

  async stop(): Promise<void> {
    await this.app.stop();
    await this.mail.stop();
  }

  /** An address that nobody else has. */
  address(): string {
    this.#count += 1;
    return `person${this.#count}@mail.test`;
  }

  /** Asks for a mail; `kind` is `register`, `account/3pid` or `account/password`. */
  requestToken(kind: string, email: string, more: object = {}, headers: Record<string, string> = {}): Promise<Answer> {
    const body = { client_secret: `secret_${email.replace(/[^a-z0-9]/gi, '')}`, send_attempt: 1, email, ...more };
    return this.app.ask(undefined, 'POST', `/${kind}/email/requestToken`, body, { headers });
  }

  /** Opens the page of a mail's link, and presses its button. */
  async follow(
    mail: ReceivedMail,
    headers: Record<string, string> = {},
  ): Promise<{ readonly page: string; readonly done: Response }> {
    const link = linkOf(mail, '/_tsudoi/email/confirm');
    const opened = await fetch(this.app.url + link.pathname + link.search, { headers });
    const page = await opened.text();
    const done = await this.press(page, link.pathname, headers);
    return { page, done };
  }

  /** Sends the form of a page as a browser does. */
  press(page: string, path: string, headers: Record<string, string> = {}): Promise<Response> {
    const fields = [...page.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"\s*\/?>/g)];
    return fetch(this.app.url + path, {
      method: 'POST',
      redirect: 'manual',
      headers,
      body: new URLSearchParams(fields.map(([, name = '', value = '']): [string, string] => [name, value])),
    });
  }

  /** Has an address validated; returns what a client shows for that. */
  async validated(kind: string, email: string): Promise<{ sid: string; client_secret: string }> {
    const answer = await this.requestToken(kind, email);
    if (answer.status !== 200) throw new Error(JSON.stringify(answer.body));
    await this.app.idle();
    await this.follow(this.mail.one());
    return { sid: answer.body.sid, client_secret: `secret_${email.replace(/[^a-z0-9]/gi, '')}` };
  }

  /** Registers somebody with a password, who logs in with it. */
  async register(username: string, more: object = {}): Promise<{ userId: string; token: string }> {
    const body = { username, password: PASSWORD, auth: { type: 'm.login.dummy' }, ...more };
    const { user_id: userId, access_token: token } = await this.app.must(undefined, 'POST', '/register', body);
    return { userId, token };
  }

  passwordAuth(userId: string): object {
    return { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password: PASSWORD };
  }

  /** Adds an address to somebody's account. */
  async add({ userId, token }: { userId: string; token: string }, email: string): Promise<void> {
    const credentials = await this.validated('account/3pid', email);
    await this.app.must(token, 'POST', '/account/3pid/add', { ...credentials, auth: this.passwordAuth(userId) });
  }

  async threepids(token: string): Promise<Json[]> {
    return (await this.app.must(token, 'GET', '/account/3pid')).threepids;
  }
}
