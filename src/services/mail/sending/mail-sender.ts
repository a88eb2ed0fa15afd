import { createHash } from 'node:crypto';
import type { Clock } from '#src/kernel/clock.ts';
import type { Language } from '#src/kernel/text/language.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import type { MailAddress, SmtpClient } from '#src/remote/smtp/smtp-client.ts';
import type { MailContent } from '#src/services/mail/templates/content.ts';
import { mailHtml, mailText } from '#src/services/mail/templates/layout.ts';
import type { Database } from '#src/storage/database.ts';
import { noteMailSent, wasMailSent } from '#src/storage/mail/mails-sent.ts';

/** A mail to one person. */
export interface Mail {
  /** Of what it is about: the same each time it is tried, so that it is sent once. */
  readonly id: string;
  /** For metrics and the log. */
  readonly kind: string;
  readonly to: string;
  readonly language: Language;
  readonly content: MailContent;
  /** One-click unsubscription. RFC 8058. */
  readonly unsubscribeUrl?: string;
}

/** The sender of mails: transport, address and name. */
export interface SenderOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
  /** Undefined where no mail is sent. */
  readonly client: Pick<SmtpClient, 'send'> | undefined;
  readonly from: MailAddress;
  readonly envelopeFrom: string;
  readonly service: string;
  /** Domain of the ids of mails. */
  readonly domain: string;
  readonly publicBaseUrl: () => string;
}

/** Sends mails for jobs: each one once, however often it is called, as far as SMTP allows. */
export class MailSender {
  readonly #options: SenderOptions;
  readonly #count: Counter;

  constructor(options: SenderOptions) {
    this.#options = options;
    this.#count = options.metrics.counter('tsudoi_mails_total', 'mails, by outcome', ['kind', 'outcome']);
  }

  /** Whether mail is sent at all. */
  get isEnabled(): boolean {
    return this.#options.client !== undefined;
  }

  /** What mails call this server. */
  get service(): string {
    return this.#options.service;
  }

  /** The address of a page of this server. */
  linkTo(path: string, query: Readonly<Record<string, string>>): string {
    return `${this.#options.publicBaseUrl()}${path}?${new URLSearchParams(query).toString()}`;
  }

  /** The address of this server. */
  get homeUrl(): string {
    return this.#options.publicBaseUrl();
  }

  /**
   * Sends a mail unless it was sent before. Between its acceptance and the note of that is one statement: a process that is killed there sends it
   * once more, under the same Message-ID. What is refused for good is given up.
   *
   * @throws Error when it is to be tried again
   */
  async send(mail: Mail): Promise<void> {
    const { client, clock, database, logger } = this.#options;
    const { id, kind } = mail;
    if (client === undefined) throw new Error('no mail is sent: email.smtp_url is not set');
    if (await wasMailSent(database, id)) return;
    const outcome = await client.send(this.#outgoing(mail));
    this.#count.inc({ kind, outcome: outcome.kind });
    if (outcome.kind === 'failed') throw new Error(`the mail could not be handed over: ${outcome.reason}`);
    if (outcome.kind === 'refused')
      logger.warn('a mail was refused for good', { kind, code: outcome.code, reason: outcome.reason });
    await noteMailSent(database, id, clock.now());
  }

  #outgoing({ content, id, language, to, unsubscribeUrl }: Mail) {
    const { clock, domain, envelopeFrom, from, publicBaseUrl, service } = this.#options;
    const frame = { language, service, url: publicBaseUrl() };
    const digest = createHash('sha256').update(id).digest('hex').slice(0, 40);
    return {
      messageId: `<${digest}@${domain}>`,
      from,
      envelopeFrom,
      to: { name: '', address: to },
      subject: content.subject,
      text: mailText(content, frame),
      html: mailHtml(content, frame),
      ts: clock.now(),
      headers: {
        'Content-Language': language,
        // RFC 3834: nobody is to answer that they are on holiday.
        'Auto-Submitted': 'auto-generated',
        'X-Auto-Response-Suppress': 'All',
        ...(unsubscribeUrl === undefined
          ? {}
          : {
              'List-Unsubscribe': `<${unsubscribeUrl}>`,
              'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click',
            }),
      },
    };
  }
}
