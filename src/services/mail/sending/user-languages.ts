import { type Language, languageOf } from '#src/kernel/text/language.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';

/** Account data in which users choose the language of the server's messages: `{"language": "ja"}`. */
const LANGUAGE_TYPE = 'org.tsudoi.language';

/** Finds the language for mails and notices to a user. */
export class UserLanguages {
  readonly #accountData: Pick<AccountDataService, 'get'>;
  readonly #usual: Language;

  /** @param usual for users who have not chosen one */
  constructor(accountData: Pick<AccountDataService, 'get'>, usual: Language) {
    this.#accountData = accountData;
    this.#usual = usual;
  }

  /** @param hint what the app or the request at hand says; what the user says goes before it */
  async of(userId: string, hint?: Language): Promise<Language> {
    const json = await this.#accountData.get(userId, 0, LANGUAGE_TYPE);
    const said: unknown = json === undefined ? undefined : (JSON.parse(json) as { language?: unknown }).language;
    return (typeof said === 'string' ? languageOf(said) : undefined) ?? hint ?? this.#usual;
  }
}
