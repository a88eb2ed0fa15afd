import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';

/** Answers other servers' queries of local users' profiles. Server-Server API, `GET /query/profile`. */
export class ProfileAnswers {
  readonly #profiles: ProfileService;
  readonly #serverName: string;
  readonly #isOpen: boolean;

  /** @param options.isOpen whether profiles are shown to other servers */
  constructor(options: { readonly profiles: ProfileService; readonly serverName: string; readonly isOpen: boolean }) {
    this.#profiles = options.profiles;
    this.#serverName = options.serverName;
    this.#isOpen = options.isOpen;
  }

  /**
   * A profile, or one field of it; nothing where the user has not set that.
   *
   * @throws MatrixError M_FORBIDDEN where profiles are not shown, M_INVALID_PARAM for what is no user of this server, M_NOT_FOUND
   */
  async answer(userId: string, field: string | undefined): Promise<JsonObject> {
    if (!this.#isOpen) throw new MatrixError('M_FORBIDDEN', 'This server does not show profiles to other servers.');
    if (!isUserId(userId) || domainOf(userId) !== this.#serverName)
      throw new MatrixError('M_INVALID_PARAM', `user_id must be a user of this server, @name:${this.#serverName}.`);
    const { fields } = await this.#profiles.readOwn(userId);
    if (field === undefined) return fields;
    const value = Object.hasOwn(fields, field) ? fields[field] : undefined;
    return value === undefined ? {} : { [field]: value };
  }
}
