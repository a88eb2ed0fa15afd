import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type ParsedMail, simpleParser } from 'mailparser';
import { SMTPServer, type SMTPServerOptions, type SMTPServerSession } from 'smtp-server';

/** A mail as the server took it. */
export interface ReceivedMail {
  /** As they stand in the envelope. */
  readonly from: string;
  readonly to: readonly string[];
  readonly parsed: ParsedMail;
  readonly raw: string;
  /** Whether it came over TLS. */
  readonly isSecure: boolean;
}

/** A refusal with an SMTP code, at a step of the conversation. */
export interface Refusal {
  readonly step: 'mail' | 'rcpt' | 'data';
  readonly code: number;
}

export interface MailServerOptions {
  readonly tls?: 'none' | 'starttls' | 'implicit';
  /** Without it nobody has to log in. */
  readonly login?: { readonly username: string; readonly password: string };
}

const path = (name: string): string => fileURLToPath(new URL(`../certificates/${name}`, import.meta.url));

const refused = (code: number): Error => Object.assign(new Error('as the test wants it'), { responseCode: code });

/** A real SMTP server on the loopback interface, which keeps what it takes. */
export class MailServer {
  readonly received: ReceivedMail[] = [];
  /** Refusals of the next mails, the first one first. */
  readonly refusals: Refusal[] = [];
  /** Called when a mail was taken, before that is answered. */
  whenTaken: (() => Promise<void>) | undefined;
  connections = 0;
  readonly #server: SMTPServer;
  #taken = 0;

  private constructor({ tls = 'none', login }: MailServerOptions) {
    const options: SMTPServerOptions = {
      secure: tls === 'implicit',
      disabledCommands: [...(tls === 'starttls' ? [] : ['STARTTLS']), ...(login === undefined ? ['AUTH'] : [])],
      ...(tls === 'none' ? {} : { cert: readFileSync(path('loopback.crt')), key: readFileSync(path('loopback.key')) }),
      authOptional: login === undefined,
      allowInsecureAuth: true,
      logger: false,
      disableReverseLookup: true,
      onConnect: (_session, callback) => {
        this.connections += 1;
        callback();
      },
      onAuth: (auth, _session, callback) => {
        const isRight = auth.username === login?.username && auth.password === login?.password;
        callback(isRight ? null : refused(535), isRight ? { user: auth.username } : undefined);
      },
      onMailFrom: (_address, _session, callback) => callback(this.#refusal('mail')),
      onRcptTo: (_address, _session, callback) => callback(this.#refusal('rcpt')),
      onData: (stream, session, callback) => {
        const chunks: Buffer[] = [];
        stream.on('data', (chunk: Buffer) => chunks.push(chunk));
        stream.on('end', () => {
          const refusal = this.#refusal('data');
          if (refusal !== null) {
            callback(refusal);
            return;
          }
          void this.#take(Buffer.concat(chunks), session).finally(() => callback(null, 'taken'));
        });
      },
    };
    this.#server = new SMTPServer(options);
    // Clients that are cut off are part of what is tested.
    this.#server.on('error', () => undefined);
  }

  static async start(options: MailServerOptions = {}): Promise<MailServer> {
    const server = new MailServer(options);
    await new Promise<void>((resolve) => {
      server.#server.listen(0, '127.0.0.1', resolve);
    });
    return server;
  }

  get port(): number {
    return (this.#server.server.address() as AddressInfo).port;
  }

  /** `smtp://...` */
  get url(): string {
    return `smtp://localhost:${this.port}`;
  }

  /** The mails since this was asked last, the oldest first. */
  take(): ReceivedMail[] {
    const fresh = this.received.slice(this.#taken);
    this.#taken = this.received.length;
    return fresh;
  }

  /** The one mail since this was asked last. */
  one(): ReceivedMail {
    const [mail, ...others] = this.take();
    if (mail === undefined || others.length > 0)
      throw new Error(`${others.length + (mail ? 1 : 0)} mails came, not one`);
    return mail;
  }

  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  async #take(raw: Buffer, { envelope: { mailFrom, rcptTo }, secure: isSecure }: SMTPServerSession): Promise<void> {
    const from = mailFrom === false ? '' : mailFrom.address;
    const to = rcptTo.map(({ address }) => address);
    this.received.push({ from, to, parsed: await simpleParser(raw), raw: raw.toString(), isSecure });
    await this.whenTaken?.();
  }

  #refusal(step: Refusal['step']): Error | null {
    const [next] = this.refusals;
    if (next?.step !== step) return null;
    this.refusals.shift();
    return refused(next.code);
  }
}

/** The links of a mail in its plain text, in order. */
export const linksOf = ({ parsed }: ReceivedMail): string[] => parsed.text?.match(/https?:\/\/[^\s>]+/g) ?? [];

/** The link to a page of this server that a mail has in its text and in its HTML alike. */
export const linkOf = (mail: ReceivedMail, page: string): URL => {
  const link = linksOf(mail).find((one) => new URL(one).pathname.endsWith(page));
  if (link === undefined) throw new Error(`no link to ${page} in: ${mail.parsed.text}`);
  const inHtml = String(mail.parsed.html).includes(`href="${link.replaceAll('&', '&amp;')}"`);
  if (!inHtml) throw new Error(`the HTML has another link than the text: ${link}`);
  return new URL(link);
};
