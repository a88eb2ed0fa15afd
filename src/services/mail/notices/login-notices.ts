import { acceptedLanguage } from '#src/kernel/text/language.ts';
import type { MailSender } from '#src/services/mail/sending/mail-sender.ts';
import type { UserLanguages } from '#src/services/mail/sending/user-languages.ts';
import { mailTexts } from '#src/services/mail/templates/languages.ts';
import { shownName } from '#src/services/mail/templates/shown-text.ts';
import { mailAddressesOf } from '#src/storage/accounts/account-threepids.ts';
import type { Database } from '#src/storage/database.ts';

/** A login on a device that was not known before. */
export interface NewLogin {
  readonly userId: string;
  readonly deviceId: string;
  readonly deviceName?: string | undefined;
  readonly ip: string;
  readonly acceptLanguage?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly ts: number;
}

export interface LoginNoticesOptions {
  readonly database: Database;
  readonly languages: UserLanguages;
  readonly sender: MailSender;
}

/** Mails users about logins on new devices. */
export class LoginNotices {
  readonly #options: LoginNoticesOptions;

  constructor(options: LoginNoticesOptions) {
    this.#options = options;
  }

  /** To all addresses of the account. @throws Error when it is to be tried again */
  async send({ acceptLanguage, deviceId, deviceName, ip, ts, userId }: NewLogin): Promise<void> {
    const { database, languages, sender } = this.#options;
    const language = await languages.of(userId, acceptedLanguage(acceptLanguage));
    const time = new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'short', timeZone: 'UTC' });
    const content = mailTexts(language).newLogin({
      service: sender.service,
      userId,
      device: shownName(deviceName, deviceId),
      time: `${time.format(ts)} UTC`,
      ip,
    });
    for (const to of await mailAddressesOf(database, userId))
      await sender.send({ id: `login ${userId} ${deviceId} ${ts} ${to}`, kind: 'new_login', to, language, content });
  }
}
