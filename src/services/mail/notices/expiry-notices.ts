import { sendExpiryNotice } from '#src/jobs/definitions.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { type AccountValidity, RENEWAL_PATH } from '#src/services/accounts/validity/account-validity.ts';
import type { MailSender } from '#src/services/mail/sending/mail-sender.ts';
import type { UserLanguages } from '#src/services/mail/sending/user-languages.ts';
import { mailTexts } from '#src/services/mail/templates/languages.ts';
import { mailAddressesOf } from '#src/storage/accounts/account-threepids.ts';
import type { Database } from '#src/storage/database.ts';
import { expiringAccounts } from '#src/storage/mail/expiring-accounts.ts';
import { noteMailSent } from '#src/storage/mail/mails-sent.ts';

const PAGE = 500;

export interface ExpiryNoticesOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly validity: Pick<AccountValidity, 'of' | 'renewalToken'>;
  readonly languages: UserLanguages;
  readonly sender: MailSender;
  /** `email.expiry_notice_ms` */
  readonly noticeMs: number;
}

/** Mails users whose accounts are about to expire, with a link that renews the account. */
export class ExpiryNotices {
  readonly #options: ExpiryNoticesOptions;

  constructor(options: ExpiryNoticesOptions) {
    this.#options = options;
  }

  /** Enqueues a job for each such account. @returns false when it was interrupted by the signal */
  async look(signal: AbortSignal): Promise<boolean> {
    const { clock, database, noticeMs } = this.#options;
    const now = clock.now();
    for (let after = ''; ;) {
      if (signal.aborted) return false;
      const accounts = await expiringAccounts(database, { after: now, upTo: now + noticeMs }, after, PAGE);
      const last = accounts.at(-1);
      if (last === undefined) return true;
      await database.write(async (tx) => {
        for (const account of accounts) await tx.enqueue(sendExpiryNotice, account);
      });
      after = last.userId;
    }
  }

  /** To all addresses of the account, unless it was renewed meanwhile. @throws Error when it is to be tried again */
  async send(userId: string, expiresTs: number): Promise<void> {
    const { clock, database, languages, sender, validity } = this.#options;
    const token = (await validity.of(userId)) === expiresTs ? await validity.renewalToken(userId) : undefined;
    if (token === undefined) return;
    const language = await languages.of(userId);
    const time = new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'short', timeZone: 'UTC' });
    const content = mailTexts(language).expiry({
      service: sender.service,
      userId,
      time: `${time.format(expiresTs)} UTC`,
      url: sender.linkTo(RENEWAL_PATH, { user_id: userId, token }),
    });
    const id = `expiry ${userId} ${expiresTs}`;
    for (const to of await mailAddressesOf(database, userId))
      await sender.send({ id: `${id} ${to}`, kind: 'expiry', to, language, content });
    await noteMailSent(database, id, clock.now());
  }
}
