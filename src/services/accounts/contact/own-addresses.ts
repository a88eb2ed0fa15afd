import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import { thirdPartyId, type ThirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import type { IdentityAccess, IdentityService, IdentitySigner } from '#src/remote/identity-service.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { AuthData } from '#src/services/accounts/uia/stages.ts';
import type { UiaService } from '#src/services/accounts/uia/uia-service.ts';
import { bindsOf, forgetBind, forgetBinds, noteBind, serversOfBind } from '#src/storage/accounts/threepid-binds.ts';
import type { Database } from '#src/storage/database.ts';
import type { AccountThreepids } from '#src/services/accounts/threepids/account-threepids.ts';
import {
  type AddressValidation,
  notValidated,
  type ThreepidCredentials,
} from '#src/services/accounts/validation/address-validation.ts';
import { PASSWORD_FLOWS } from '#src/services/accounts/uia/flows.ts';

export interface OwnAddressesOptions {
  readonly database: Database;
  readonly threepids: AccountThreepids;
  readonly validation: AddressValidation;
  readonly uia: UiaService;
  readonly identity: Pick<IdentityService, 'bind' | 'unbind'>;
  readonly signer: IdentitySigner;
  /** Identity servers that users may have this server ask. */
  readonly trustedServers: readonly string[];
  /** Addresses of an account that are bound. */
  readonly most: number;
}

/** Whether an identity server has unbound an address: `id_server_unbind_result`. */
export type UnbindResult = 'success' | 'no-support';

/** Adds, binds and removes the third-party addresses of users' own accounts. Client-Server API, "Account administrative contact information". */
export class OwnAddresses {
  readonly #options: OwnAddressesOptions;

  constructor(options: OwnAddressesOptions) {
    this.#options = options;
  }

  /**
   * Gives the requester's account an address that was validated for that, after user-interactive authentication.
   *
   * @throws UiaChallenge; MatrixError M_THREEPID_AUTH_FAILED, M_THREEPID_IN_USE, M_TOO_LARGE
   */
  async add(
    { userId }: Requester,
    credentials: ThreepidCredentials,
    { auth, ip }: { readonly auth: AuthData | undefined; readonly ip: string },
  ): Promise<void> {
    const { database, threepids, uia, validation } = this.#options;
    const { sid, clientSecret } = credentials;
    await uia.perform(
      { operation: 'add3PID', parameters: [sid, clientSecret], flows: PASSWORD_FLOWS, userId, auth, ip },
      async () => {
        if ((await validation.validated('add', credentials)) === undefined) throw notValidated();
        await database.write(async (tx) => {
          const { id, validatedTs } = await validation.consume(tx, 'add', sid);
          await threepids.bind(tx, userId, id, validatedTs);
        });
      },
    );
  }

  /**
   * Has an identity server publish that an address which was validated there is the requester's. "Homeservers should track successful
   * binds so they can be unbound later."
   *
   * @throws MatrixError M_SERVER_NOT_TRUSTED, M_TOO_LARGE, M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT; what the identity server refuses
   *   with
   */
  async bind({ userId }: Requester, access: IdentityAccess, credentials: ThreepidCredentials): Promise<void> {
    const { database, identity, most } = this.#options;
    this.#assertTrusted(access.server);
    if ((await bindsOf(database, userId)).length >= most)
      throw quotaFull('quotas.threepids', `This server binds at most ${most} addresses of an account.`);
    const id = await identity.bind(access, { ...credentials, userId });
    await noteBind(database, userId, id, access.server);
  }

  /**
   * Has an association removed from an identity server: the one that is named, or those with which this server bound the address.
   *
   * @throws MatrixError M_INVALID_PARAM, M_SERVER_NOT_TRUSTED, M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT; what the identity server
   *   refuses with
   */
  async unbind(
    { userId }: Pick<Requester, 'userId'>,
    medium: string,
    address: string,
    server?: string,
  ): Promise<UnbindResult> {
    if (server !== undefined) this.#assertTrusted(server);
    return this.#unbind(userId, checked(medium, address), server);
  }

  /**
   * Removes an address from the requester's account, whether or not identity servers unbind it.
   *
   * @throws MatrixError M_INVALID_PARAM
   */
  async remove({ userId }: Requester, medium: string, address: string, server?: string): Promise<UnbindResult> {
    const id = checked(medium, address);
    await this.#options.threepids.remove(userId, id);
    if (server !== undefined && !this.#options.trustedServers.includes(server)) return 'no-support';
    try {
      return await this.#unbind(userId, id, server);
    } catch (error) {
      if (error instanceof MatrixError) return 'no-support';
      throw error;
    }
  }

  /**
   * Has all that this server bound for a user removed from the identity servers. What they do not remove stays noted.
   *
   * @returns "This must be `success` if the homeserver has no identifiers to unbind for the user."
   */
  async unbindAll(userId: string): Promise<UnbindResult> {
    const binds = await bindsOf(this.#options.database, userId);
    const results = await Promise.all(
      binds.map(async ({ address, idServer, medium }): Promise<UnbindResult> => {
        const id = thirdPartyId(medium, address);
        try {
          return id === undefined ? 'no-support' : await this.#unbind(userId, id, idServer);
        } catch (error) {
          if (error instanceof MatrixError) return 'no-support';
          throw error;
        }
      }),
    );
    return results.every((result) => result === 'success') ? 'success' : 'no-support';
  }

  /** The same for a deactivated account: nothing stays noted. */
  async release(userId: string): Promise<void> {
    await this.unbindAll(userId);
    await forgetBinds(this.#options.database, userId);
  }

  async #unbind(userId: string, id: ThirdPartyId, server: string | undefined): Promise<UnbindResult> {
    const { database, identity, signer } = this.#options;
    const servers = server === undefined ? await serversOfBind(database, userId, id) : [server];
    let result: UnbindResult = servers.length > 0 ? 'success' : 'no-support';
    for (const one of servers) {
      if (await identity.unbind(one, userId, id, signer)) await forgetBind(database, userId, id, one);
      else result = 'no-support';
    }
    return result;
  }

  #assertTrusted(server: string): void {
    if (!this.#options.trustedServers.includes(server))
      throw new MatrixError('M_SERVER_NOT_TRUSTED', `This server does not trust the identity server ${server}.`);
  }
}

const checked = (medium: string, address: string): ThirdPartyId => {
  const id = thirdPartyId(medium, address);
  if (id === undefined) throw new MatrixError('M_INVALID_PARAM', `The address is not of the form of ${medium}.`);
  return id;
};
