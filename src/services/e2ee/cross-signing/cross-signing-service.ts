import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { type CrossSigningKey, parseCrossSigningKey } from '#src/protocol/keys/cross-signing-key.ts';
import { signedText, verifyJson } from '#src/protocol/signing/json-signatures.ts';
import { importVerifyKey } from '#src/protocol/signing/signing-key.ts';
import type { AuthData } from '#src/services/accounts/uia/stages.ts';
import type { UiaService } from '#src/services/accounts/uia/uia-service.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { listDevices } from '#src/storage/accounts/devices.ts';
import {
  type CrossSigningKeyRecord,
  crossSigningKeysOf,
  type CrossSigningUsage,
  deleteCrossSigningKeys,
  deleteKeySignatures,
  lockCrossSigning,
  mayReplace,
  upsertCrossSigningKeys,
} from '#src/storage/e2ee/cross-signing-keys.ts';
import { PASSWORD_FLOWS } from '#src/services/accounts/uia/flows.ts';
import type { DeviceListChanges } from '../device-lists/device-list-changes.ts';

/** The members of the body and what their keys are used for. Client-Server API, `POST /keys/device_signing/upload`. */
const MEMBERS = { master_key: 'master', self_signing_key: 'self_signing', user_signing_key: 'user_signing' } as const;
type Member = keyof typeof MEMBERS;

export interface CrossSigningUpload extends Readonly<Partial<Record<Member, unknown>>> {
  readonly auth?: AuthData | undefined;
}

/** The user who uploads. */
export interface CrossSigningUploader {
  readonly userId: string;
  readonly deviceId: string | undefined;
  /** "This endpoint no longer requires User-Interactive Authentication when used by an application service." Since v1.17. */
  readonly isAppservice: boolean;
  readonly ip: string;
}

export interface CrossSigningServiceOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly uia: UiaService;
  readonly changes: DeviceListChanges;
}

/** A key of an upload. */
type GivenKey = CrossSigningKey & { readonly usage: CrossSigningUsage };

/** Stores cross-signing keys, with which users sign their devices and each other. Client-Server API, "Cross-signing". */
export class CrossSigningService {
  readonly #options: CrossSigningServiceOptions;

  constructor(options: CrossSigningServiceOptions) {
    this.#options = options;
  }

  /**
   * Stores a user's cross-signing keys. The first ones and those that are there already need no authentication; other ones do.
   *
   * @throws MatrixError M_BAD_JSON, M_INVALID_PARAM, M_MISSING_PARAM without a master key, M_INVALID_SIGNATURE, M_FORBIDDEN when a key is
   *   named like a device; UiaChallenge
   */
  async upload(uploader: CrossSigningUploader, upload: CrossSigningUpload): Promise<void> {
    const { userId } = uploader;
    const given = (Object.keys(MEMBERS) as Member[])
      .filter((member) => upload[member] !== undefined)
      .map((member) => ({
        usage: MEMBERS[member],
        ...parseCrossSigningKey(upload[member], member, MEMBERS[member], userId),
      }));
    const known = await crossSigningKeysOf(this.#options.database, [userId]);
    this.#checkSignatures(userId, given, known);
    if (await this.#mayUpload(uploader, given, known)) {
      await this.#write(userId, given, known);
      return;
    }
    const parameters = given.map(({ usage, content }) => [usage, signedText(content, 'lenient')]);
    await this.#options.uia.perform(
      {
        operation: 'uploadCrossSigningKeys',
        parameters,
        flows: PASSWORD_FLOWS,
        userId,
        reuseFor: uploader.deviceId,
        auth: upload.auth,
        ip: uploader.ip,
      },
      () => this.#write(userId, given, known),
    );
  }

  #checkSignatures(userId: string, given: readonly GivenKey[], known: readonly CrossSigningKeyRecord[]): void {
    const master = given.find(({ usage }) => usage === 'master') ?? known.find(({ usage }) => usage === 'master');
    if (master === undefined)
      throw new MatrixError('M_MISSING_PARAM', 'Upload a master_key first, or with the others.');
    const verifyKey = importVerifyKey(master.publicKey);
    for (const { usage, content } of given) {
      if (usage === 'master') continue;
      const isSigned =
        verifyKey !== undefined && verifyJson(content, userId, `ed25519:${master.publicKey}`, verifyKey, 'lenient');
      if (!isSigned)
        throw new MatrixError('M_INVALID_SIGNATURE', `${usage}_key has no valid signature by your master key.`);
    }
  }

  /**
   * Whether no authentication is asked for. "User-Interactive Authentication MUST be performed for regular clients, except in these
   * cases: there is no existing master signing key uploaded to the homeserver, OR […] the request contains no new keys." Since v1.11.
   */
  async #mayUpload(
    { userId, isAppservice }: CrossSigningUploader,
    given: readonly GivenKey[],
    known: readonly CrossSigningKeyRecord[],
  ): Promise<boolean> {
    if (isAppservice || !known.some(({ usage }) => usage === 'master')) return true;
    if (given.every((key) => isUnchanged(key, known))) return true;
    return mayReplace(this.#options.database, userId, this.#options.clock.now());
  }

  async #write(userId: string, given: readonly GivenKey[], known: readonly CrossSigningKeyRecord[]): Promise<void> {
    const { database, changes } = this.#options;
    const isWritten = await database.write(async (tx) => {
      await lockCrossSigning(tx, userId);
      const before = await crossSigningKeysOf(tx, [userId]);
      // Another upload came in between: what was authorized is not what would be replaced.
      if (!isSame(before, known))
        throw new MatrixError(
          'M_UNKNOWN',
          'Your cross-signing keys were changed at the same moment. Try again.',
          {},
          409,
        );
      return this.#store(tx, userId, given, before);
    });
    if (isWritten) await changes.published(userId);
  }

  async #store(
    tx: Tx,
    userId: string,
    given: readonly GivenKey[],
    before: readonly CrossSigningKeyRecord[],
  ): Promise<boolean> {
    const changed = given.filter((key) => !isUnchanged(key, before));
    if (changed.length === 0) return false;
    const devices = new Set((await listDevices(tx, userId)).map(({ deviceId }) => deviceId));
    if (changed.some(({ publicKey }) => devices.has(publicKey)))
      throw new MatrixError('M_FORBIDDEN', 'One of your devices has the public key of one of these keys as its id.');
    const isNewMaster = changed.some(({ usage }) => usage === 'master');
    // Signatures by the old master key do not count any more.
    const orphaned = isNewMaster
      ? before.filter(({ usage }) => usage !== 'master' && !given.some((key) => key.usage === usage))
      : [];
    const replaced = before.filter(({ usage, publicKey }) =>
      changed.some((key) => key.usage === usage && key.publicKey !== publicKey),
    );
    await deleteKeySignatures(
      tx,
      userId,
      [...orphaned, ...replaced].map(({ publicKey }) => publicKey),
    );
    await deleteCrossSigningKeys(
      tx,
      userId,
      orphaned.map(({ usage }) => usage),
    );
    await upsertCrossSigningKeys(
      tx,
      userId,
      changed.map(({ usage, publicKey, content }) => ({
        usage,
        publicKey,
        content: canonicalJson(content, 'lenient'),
      })),
    );
    // Nobody else is shown a user-signing key.
    const { changes: deviceLists } = this.#options;
    if (changed.every(({ usage }) => usage === 'user_signing')) await deviceLists.markSigned(tx, userId, [userId]);
    else await deviceLists.mark(tx, userId);
    return true;
  }
}

/** "it exactly matches the master signing key provided in the request body": signatures that came in between do not matter. */
const isUnchanged = ({ usage, publicKey, content }: GivenKey, known: readonly CrossSigningKeyRecord[]): boolean => {
  const before = known.find((key) => key.usage === usage);
  return (
    before?.publicKey === publicKey &&
    signedText(JSON.parse(before.content) as JsonObject, 'lenient') === signedText(content, 'lenient')
  );
};

const isSame = (one: readonly CrossSigningKeyRecord[], other: readonly CrossSigningKeyRecord[]): boolean =>
  one.length === other.length &&
  one.every(({ usage, content }) => other.some((key) => key.usage === usage && key.content === content));
