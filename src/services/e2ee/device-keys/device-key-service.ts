import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { parseDeviceKeys, parseUploadedKeys, type UploadedKey } from '#src/protocol/keys/device-keys.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { deleteKeySignatures } from '#src/storage/e2ee/cross-signing-keys.ts';
import { upsertDeviceKeys } from '#src/storage/e2ee/device-keys.ts';
import {
  countKeys,
  existingOneTimeKeys,
  forgetClaimedKeys,
  insertOneTimeKeys,
  type KeyRow,
  lockDevice,
  upsertFallbackKeys,
} from '#src/storage/e2ee/one-time-keys.ts';
import type { DeviceListChanges } from '../device-lists/device-list-changes.ts';
import { type DeviceKeyCounts, type KeyCounts, keyCountsOf } from './key-counts.ts';

/** Keys in one upload. */
export const MAX_UPLOADED = 500;
/** Fallback keys of one device: there is one for each algorithm. */
export const MAX_FALLBACK = 10;

/** What a device uploads. Client-Server API, `POST /keys/upload`. */
export interface KeyUpload {
  readonly device_keys?: unknown;
  readonly one_time_keys?: unknown;
  readonly fallback_keys?: unknown;
}

/** An upload that can be stored. */
export interface CheckedUpload {
  readonly deviceKeys: JsonObject | undefined;
  readonly oneTime: readonly KeyRow[];
  readonly fallback: readonly KeyRow[];
}

export interface DeviceKeyServiceOptions {
  readonly database: Database;
  readonly counts: DeviceKeyCounts;
  readonly changes: DeviceListChanges;
  /** One-time keys that one device may have here. */
  readonly maxOneTimeKeys: number;
}

const noDevice = (): MatrixError =>
  new MatrixError('M_UNKNOWN_DEVICE', 'Keys belong to a device: ask with the access token of one.');

/** Stores the keys that devices upload. Client-Server API, "Uploading keys". */
export class DeviceKeyService {
  readonly #options: DeviceKeyServiceOptions;

  constructor(options: DeviceKeyServiceOptions) {
    this.#options = options;
  }

  /**
   * Stores keys of a device. One-time keys that are there already are passed over.
   *
   * @returns how many one-time keys nobody has claimed yet, by algorithm
   * @throws MatrixError M_BAD_JSON, M_INVALID_PARAM when another key has the name of one of them, M_TOO_LARGE, M_UNKNOWN_DEVICE
   */
  async upload(
    { userId, deviceId }: { readonly userId: string; readonly deviceId: string | undefined },
    upload: KeyUpload,
  ): Promise<KeyCounts['oneTime']> {
    if (deviceId === undefined) throw noDevice();
    const checked = this.check(userId, deviceId, upload);
    const { deviceKeys, oneTime, fallback } = checked;
    const { database, counts } = this.#options;
    if (deviceKeys === undefined && oneTime.length + fallback.length === 0)
      return (await counts.of(userId, deviceId)).oneTime;
    const left = await database.write(async (tx) => {
      await this.uploadIn(tx, userId, deviceId, checked);
      return keyCountsOf(await countKeys(tx, userId, deviceId)).oneTime;
    });
    await this.published(userId);
    return left;
  }

  /** Stores what `check` found in an upload, within a transaction. @throws MatrixError M_INVALID_PARAM, M_TOO_LARGE, M_UNKNOWN_DEVICE */
  async uploadIn(tx: Tx, userId: string, deviceId: string, upload: CheckedUpload): Promise<void> {
    if (!(await lockDevice(tx, userId, deviceId))) throw noDevice();
    await this.#store(tx, userId, deviceId, upload);
    tx.afterCommit(() => this.#options.counts.stale(userId, deviceId));
  }

  /** Resolves when the next sync tells of a user's keys that are stored. */
  published(userId: string): Promise<void> {
    return this.#options.changes.published(userId);
  }

  /** What an upload holds. @throws MatrixError M_BAD_JSON, M_INVALID_PARAM, M_TOO_LARGE */
  check(userId: string, deviceId: string, upload: KeyUpload): CheckedUpload {
    const deviceKeys =
      upload.device_keys === undefined ? undefined : parseDeviceKeys(upload.device_keys, userId, deviceId);
    const oneTime = parseUploadedKeys(upload.one_time_keys, 'one_time_keys').map(rowOf);
    const fallback = parseUploadedKeys(upload.fallback_keys, 'fallback_keys').map(rowOf);
    checkFallback(fallback);
    if (oneTime.length > MAX_UPLOADED)
      throw new MatrixError('M_TOO_LARGE', `At most ${MAX_UPLOADED} one-time keys can be uploaded at once.`);
    return { deviceKeys, oneTime, fallback };
  }

  async #store(
    tx: Tx,
    userId: string,
    deviceId: string,
    { deviceKeys, oneTime, fallback }: CheckedUpload,
  ): Promise<void> {
    const { changes, maxOneTimeKeys } = this.#options;
    if (
      deviceKeys !== undefined &&
      (await upsertDeviceKeys(tx, userId, deviceId, canonicalJson(deviceKeys, 'lenient')))
    ) {
      // What was signed were the keys before.
      await deleteKeySignatures(tx, userId, [deviceId]);
      await changes.mark(tx, userId);
    }
    if (oneTime.length > 0) {
      const there = new Map(
        (await existingOneTimeKeys(tx, userId, deviceId, oneTime)).map((row) => [nameOf(row), row]),
      );
      const fresh = oneTime.filter((row) => {
        const known = there.get(nameOf(row));
        // A client that lost the answer to an upload repeats it: what was claimed meanwhile must not be claimed twice.
        if (known?.content === row.content) return false;
        if (known?.isClaimed === false) {
          throw new MatrixError(
            'M_INVALID_PARAM',
            `There is another one-time key named ${nameOf(row)} already. Give a new key a new id.`,
          );
        }
        return true;
      });
      const held = (await countKeys(tx, userId, deviceId)).reduce((sum, { count }) => sum + count, 0);
      if (held + fresh.length > maxOneTimeKeys)
        throw quotaFull(
          'e2ee.max_one_time_keys',
          `A device can have ${maxOneTimeKeys} unclaimed one-time keys at most.`,
        );
      await forgetClaimedKeys(tx, userId, deviceId, fresh);
      await insertOneTimeKeys(tx, userId, deviceId, fresh);
    }
    if (fallback.length > 0 && !(await upsertFallbackKeys(tx, userId, deviceId, fallback, MAX_FALLBACK)))
      throw quotaFull(
        'fallback_keys',
        `A device can have fallback keys of ${MAX_FALLBACK} algorithms at most, those included that are here already.`,
      );
  }
}

const nameOf = ({ algorithm, keyId }: KeyRow): string => `${algorithm}:${keyId}`;

/** Written in one form, so that the same key is the same text. */
const rowOf = ({ algorithm, keyId, key }: UploadedKey): KeyRow => ({
  algorithm,
  keyId,
  content: canonicalJson(key, 'lenient'),
});

/** "There can only be at most one key per algorithm uploaded". */
const checkFallback = (keys: readonly KeyRow[]): void => {
  if (new Set(keys.map(({ algorithm }) => algorithm)).size < keys.length)
    throw new MatrixError('M_INVALID_PARAM', 'There can be one fallback key for each algorithm.');
  if (keys.length > MAX_FALLBACK)
    throw quotaFull('fallback_keys', `A device can have fallback keys of ${MAX_FALLBACK} algorithms at most.`);
};
