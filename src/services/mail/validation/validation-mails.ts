import { languageOf } from '#src/kernel/text/language.ts';
import type { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import type { MailSender } from '#src/services/mail/sending/mail-sender.ts';
import type { MailContent } from '#src/services/mail/templates/content.ts';
import { mailTexts } from '#src/services/mail/templates/languages.ts';
import type { MailTexts } from '#src/services/mail/templates/mail-texts.ts';
import { ownerOfAddress } from '#src/storage/accounts/account-threepids.ts';
import type { ValidationRecord } from '#src/storage/accounts/threepid-validations.ts';
import type { Database } from '#src/storage/database.ts';

/** The path of the confirmation link: `?sid=...&token=...` */
export const CONFIRM_PATH = '/_tsudoi/email/confirm';

export interface ValidationMailsOptions {
  readonly database: Database;
  readonly sender: MailSender;
  readonly validation: AddressValidation;
  /** Milliseconds for which a link is good. */
  readonly lifetimeMs: number;
}

/** The mails by which addresses are validated. */
export class ValidationMails {
  readonly #options: ValidationMailsOptions;

  constructor(options: ValidationMailsOptions) {
    this.#options = options;
  }

  /**
   * Sends the mail of an attempt. The response does not tell whether the address belongs to an account: only its owner learns it, here.
   *
   * @throws Error when it is to be tried again
   */
  async send(sid: string, attempt: number): Promise<void> {
    const { database, sender, validation } = this.#options;
    const session = await validation.find(sid);
    // A later attempt has a mail of its own.
    if (session === undefined || session.validatedTs !== null || session.sendAttempt > attempt) return;
    const owner = await ownerOfAddress(database, session);
    const language = languageOf(session.language) ?? 'en';
    const content = this.#content(mailTexts(language), session, owner);
    if (content === undefined) return;
    const kind = owner !== undefined && session.purpose !== 'reset' ? 'address_taken' : session.purpose;
    await sender.send({ id: `validation ${sid} ${attempt}`, kind, to: session.address, language, content });
  }

  #content(texts: MailTexts, session: ValidationRecord, owner: string | undefined): MailContent | undefined {
    const { lifetimeMs, sender, validation } = this.#options;
    const { address, purpose, sid } = session;
    const { service } = sender;
    const url = sender.linkTo(CONFIRM_PATH, { sid, token: validation.tokenOf(sid) });
    const facts = { service, address, url, minutes: Math.floor(lifetimeMs / 60_000) };
    if (purpose === 'reset') return owner === undefined ? undefined : texts.passwordReset({ ...facts, userId: owner });
    if (owner !== undefined) return texts.addressTaken({ service, address, userId: owner });
    return purpose === 'register' ? texts.registration(facts) : texts.addition(facts);
  }
}
