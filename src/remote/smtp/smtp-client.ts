import { domainToASCII } from 'node:url';
import type { SMTPPoolOptions, SMTPPoolSentMessageInfo, Transporter } from 'nodemailer';
import { internetDate } from '#src/kernel/dates.ts';
import type { Timers } from '#src/kernel/timers.ts';

/** How to connect to the mail server. */
export interface SmtpOptions {
  /** `smtp://` or `smtps://` (TLS from the first byte), with `user:password@` where they are not given separately. */
  readonly url: string;
  readonly username: string | null;
  readonly password: string | null;
  /** For `smtp://`: require STARTTLS, use it where it is offered, or never. */
  readonly starttls: 'required' | 'opportunistic' | 'none';
  readonly verifyCertificate: boolean;
  /** PEM; undefined: only the system's. */
  readonly certificateAuthorities?: readonly string[] | undefined;
  /** Milliseconds for each step, and three times that for all of a mail. */
  readonly timeoutMs: number;
  readonly maxConnections: number;
  readonly maxPerSecond: number;
  /** The name of this server in EHLO. */
  readonly ownName: string;
}

/** A mail to be sent. */
export interface OutgoingMail {
  /** `<...@...>`: the same for each attempt, so that a recipient who gets it twice can tell. */
  readonly messageId: string;
  readonly from: MailAddress;
  /** The envelope sender, to which bounces go; the address of `from` when left out. */
  readonly envelopeFrom: string;
  readonly to: MailAddress;
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  /** Milliseconds since the epoch. */
  readonly ts: number;
  readonly headers: Readonly<Record<string, string>>;
}

export interface MailAddress {
  /** Empty for none. */
  readonly name: string;
  readonly address: string;
}

/** The outcome of a mail: accepted, refused permanently, or neither, so that it may be tried again. */
export type SmtpOutcome =
  | { readonly kind: 'sent' }
  | { readonly kind: 'refused'; readonly code: number; readonly reason: string }
  | { readonly kind: 'failed'; readonly reason: string };

type Pool = Transporter<SMTPPoolSentMessageInfo, SMTPPoolOptions>;

/** The members of nodemailer's errors that matter here. */
interface SmtpError extends Error {
  readonly code?: string;
  readonly responseCode?: number;
  readonly permanent?: boolean;
}

/** Milliseconds for which an idle connection is kept. */
const IDLE_MS = 10_000;
const MESSAGES_PER_CONNECTION = 100;
export const MAX_RESPONSE_BYTES = 65_536;

/**
 * Sends mail through an SMTP server, over few connections that are kept for a while. RFC 5321. nodemailer is loaded for the first mail.
 */
export class SmtpClient {
  readonly #options: SmtpOptions;
  readonly #timers: Timers;
  #pool: Promise<Pool> | undefined;

  constructor(options: SmtpOptions, timers: Timers) {
    this.#options = options;
    this.#timers = timers;
  }

  /** Never rejects for failures of servers and networks. A mail may have been accepted although it failed, where the answer got lost. */
  async send(mail: OutgoingMail): Promise<SmtpOutcome> {
    const to = onTheWire(mail.to.address);
    const envelopeFrom = onTheWire(mail.envelopeFrom);
    if (to === undefined || envelopeFrom === undefined) return { kind: 'refused', code: 0, reason: 'EENVELOPE' };
    const deadline = new AbortController();
    const timer = this.#timers.after(3 * this.#options.timeoutMs, () => deadline.abort());
    try {
      const pool = await this.#open();
      await pool.sendMail({
        messageId: mail.messageId,
        from: mail.from,
        to: { name: mail.to.name, address: to },
        envelope: { from: envelopeFrom, to },
        subject: mail.subject,
        text: mail.text,
        html: mail.html,
        date: internetDate(mail.ts),
        headers: { ...mail.headers },
        disableFileAccess: true,
        disableUrlAccess: true,
        signal: deadline.signal,
      });
      return { kind: 'sent' };
    } catch (error) {
      return outcomeOf(error as SmtpError);
    } finally {
      timer.cancel();
    }
  }

  /** Checks whether the server can be used: connects and logs in. @throws Error with the reason */
  async probe(): Promise<void> {
    await (await this.#open()).verify();
  }

  /** Closes all connections; mails that are being sent fail. */
  async close(): Promise<void> {
    const pool = await this.#pool?.catch(() => undefined);
    pool?.transporter.close?.({ force: true });
  }

  #open(): Promise<Pool> {
    this.#pool ??= this.#make();
    return this.#pool;
  }

  async #make(): Promise<Pool> {
    const { createTransport } = await import('nodemailer');
    return createTransport({ ...poolOptions(this.#options), pool: true });
  }
}

/** Exactly one address: no list, no brackets, no second line. */
const ONE_ADDRESS = /^[^\s@<>,;:"()[\]\\\p{C}]+@[^\s@<>,;:"()\\\p{C}]+$/u;

/** An address with its domain in ASCII. Undefined for an invalid address. RFC 5321, 2.3.11; RFC 5890. */
const onTheWire = (address: string): string | undefined => {
  if (!ONE_ADDRESS.test(address)) return undefined;
  const at = address.lastIndexOf('@');
  const domain = address.slice(at + 1);
  // oxlint-disable-next-line no-control-regex
  const ascii = /^[\x00-\x7f]*$/.test(domain) ? domain : domainToASCII(domain);
  return ascii === '' ? undefined : `${address.slice(0, at)}@${ascii}`;
};

/** nodemailer's options for a server. @throws TypeError for an invalid URL */
const poolOptions = (options: SmtpOptions): SMTPPoolOptions => {
  const { certificateAuthorities, maxConnections, maxPerSecond, ownName, starttls, timeoutMs, verifyCertificate } =
    options;
  const url = new URL(options.url);
  const secure = url.protocol === 'smtps:';
  const user = options.username ?? decodeURIComponent(url.username);
  const pass = options.password ?? decodeURIComponent(url.password);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (secure ? 465 : 587) : Number(url.port),
    secure,
    requireTLS: !secure && starttls === 'required',
    ignoreTLS: !secure && starttls === 'none',
    opportunisticTLS: !secure && starttls === 'opportunistic',
    ...(user === '' ? {} : { auth: { user, pass } }),
    tls: {
      rejectUnauthorized: verifyCertificate,
      minVersion: 'TLSv1.2',
      ...(certificateAuthorities === undefined ? {} : { ca: [...certificateAuthorities] }),
    },
    name: ownName,
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    dnsTimeout: timeoutMs,
    maxResponseSize: MAX_RESPONSE_BYTES,
    maxConnections,
    maxMessages: MESSAGES_PER_CONNECTION,
    rateLimit: maxPerSecond,
    // A connection that ends in the middle of a mail is reported by `send`.
    maxRequeues: 0,
    idleTimeout: IDLE_MS,
  };
};

/** Permanent failures, caused by the message or its recipient. */
const ABOUT_THE_MAIL = new Set(['EENVELOPE', 'EMESSAGE', 'EMAXRECIPIENTS']);

/** What servers answer may name the addressee: only codes are handed on. */
const outcomeOf = ({ code, message, name, permanent, responseCode }: SmtpError): SmtpOutcome => {
  if (name === 'AbortError' || code === 'EABORT') return { kind: 'failed', reason: 'it took too long' };
  if (code !== undefined && ABOUT_THE_MAIL.has(code)) {
    // An address that cannot be sent to the server has no code of its own.
    if (responseCode === undefined) return { kind: 'refused', code: 0, reason: code };
    if (permanent === true) return { kind: 'refused', code: responseCode, reason: code };
  }
  if (responseCode !== undefined) return { kind: 'failed', reason: `${code ?? 'SMTP'} ${responseCode}` };
  return { kind: 'failed', reason: code ?? message };
};
