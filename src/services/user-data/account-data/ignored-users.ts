import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { AccountDataService } from './account-data-service.ts';

const NOBODY: ReadonlySet<string> = new Set();

/** Whether those who ignore these users are spared an event. State is told whoever sent it. Client-Server API, "Ignoring Users". */
export const isIgnored = (
  event: { readonly sender: string; readonly stateKey: string | undefined },
  ignored: ReadonlySet<string>,
): boolean => event.stateKey === undefined && ignored.has(event.sender);

/** Whom users ignore. Client-Server API, "Ignoring Users". */
export class IgnoredUsers {
  readonly #accountData: Pick<AccountDataService, 'get'>;
  /** By the content that was read: it seldom changes. */
  readonly #parsed = new Map<string, { readonly json: string; readonly users: ReadonlySet<string> }>();

  constructor(accountData: Pick<AccountDataService, 'get'>) {
    this.#accountData = accountData;
  }

  /** The users whom this one ignores. */
  async of(userId: string): Promise<ReadonlySet<string>> {
    const json = await this.#accountData.get(userId, 0, 'm.ignored_user_list');
    if (json === undefined) return NOBODY;
    const known = this.#parsed.get(userId);
    if (known?.json === json) return known.users;
    const { ignored_users: ignored } = JSON.parse(json) as { ignored_users?: unknown };
    // Clients write what they like there; only users can be ignored.
    const users = new Set(isJsonObject(ignored) ? Object.keys(ignored).filter(isUserId) : []);
    this.#parsed.delete(userId);
    this.#parsed.set(userId, { json, users });
    if (this.#parsed.size > 10_000) this.#parsed.delete(this.#parsed.keys().next().value ?? '');
    return users;
  }
}
