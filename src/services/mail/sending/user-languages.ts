import { type Language, languageOf } from '#src/kernel/language.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';

/** Account data in which users say in which language the server speaks to them: `{"language": "ja"}`. */
const LANGUAGE_TYPE = 'org.tsudoi.language';

/** In which languages users are written to. */
export class UserLanguages {
  readonly #accountData: Pick<AccountDataService, 'get'>;
  readonly #usual: Language;

  /** @param usual for those of whom nothing is known */
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
