import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Database } from '#src/storage/database.ts';
import {
  countPushers,
  deletePusher,
  deletePushersOfOthers,
  type PusherRecord,
  pushersOf,
  putPusher,
} from '#src/storage/push/pushers.ts';

export type { PusherRecord } from '#src/storage/push/pushers.ts';

const MAX_PUSHKEY_BYTES = 512;
const MAX_APP_ID = 64;
const MAX_DATA_BYTES = 16_384;
const PUSH_PATH = '/_matrix/push/v1/notify';

/** What a client asks for; the members that the specification wants with a kind may be missing. */
export interface PusherRequest {
  /** Null deletes. */
  readonly kind: string | null;
  readonly appId: string;
  readonly pushkey: string;
  readonly appDisplayName?: string | undefined;
  readonly deviceDisplayName?: string | undefined;
  readonly profileTag?: string | undefined;
  readonly lang?: string | undefined;
  readonly data?: JsonObject | undefined;
  /** Leaves those of other users with the same application and pushkey. */
  readonly append: boolean;
}

/** Where users want to be told of notifications. Client-Server API, "Push Notifications". */
export class PusherService {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #most: number;

  /** @param deps.most pushers that a user may have */
  constructor(deps: { readonly database: Database; readonly clock: Clock; readonly most: number }) {
    this.#database = deps.database;
    this.#clock = deps.clock;
    this.#most = deps.most;
  }

  /** The oldest first. */
  list(userId: string): Promise<readonly PusherRecord[]> {
    return pushersOf(this.#database, userId);
  }

  /** Makes, changes or deletes a pusher. @throws MatrixError M_MISSING_PARAM, M_INVALID_PARAM, M_TOO_LARGE for more than a user may have */
  async set(requester: Requester, request: PusherRequest): Promise<void> {
    const { userId, deviceId } = requester;
    const { appId, pushkey } = request;
    if (appId === '' || [...appId].length > MAX_APP_ID || appId.includes('\0'))
      throw invalid(`app_id has 1 to ${MAX_APP_ID} characters.`);
    if (pushkey === '' || Buffer.byteLength(pushkey) > MAX_PUSHKEY_BYTES || pushkey.includes('\0'))
      throw invalid(`pushkey has 1 to ${MAX_PUSHKEY_BYTES} bytes.`);
    if (request.kind === null) {
      await this.#database.write((tx) => deletePusher(tx, userId, appId, pushkey));
      return;
    }
    if (deviceId === undefined) throw invalid('A pusher belongs to a device, and this access token has none.');
    const pusher = checked(request, request.kind);
    await this.#database.write(async (tx) => {
      if (!request.append) await deletePushersOfOthers(tx, userId, appId, pushkey);
      await putPusher(tx, { ...pusher, userId, deviceId, createdTs: this.#clock.now() });
      if ((await countPushers(tx, userId)) > this.#most)
        throw new MatrixError('M_TOO_LARGE', `A user has at most ${this.#most} pushers on this server.`);
    });
  }
}

const invalid = (message: string): MatrixError => new MatrixError('M_INVALID_PARAM', message);

const checked = (request: PusherRequest, kind: string): Omit<PusherRecord, 'userId' | 'deviceId' | 'createdTs'> => {
  const { appId, pushkey, appDisplayName, deviceDisplayName, profileTag, lang, data } = request;
  if (appDisplayName === undefined || deviceDisplayName === undefined || lang === undefined || data === undefined) {
    const missing = Object.entries({
      app_display_name: appDisplayName,
      device_display_name: deviceDisplayName,
      lang,
      data,
    })
      .filter(([, value]) => value === undefined)
      .map(([name]) => name);
    throw new MatrixError('M_MISSING_PARAM', `Missing parameters: ${missing.join(', ')}.`);
  }
  if (kind !== 'http') throw invalid(`This server has no pushers of the kind ${kind.slice(0, 40)}: use "http".`);
  checkUrl(data['url']);
  const text = JSON.stringify(data);
  if (Buffer.byteLength(text) > MAX_DATA_BYTES) throw invalid(`data has at most ${MAX_DATA_BYTES} bytes.`);
  const names = { appDisplayName, deviceDisplayName, lang, profileTag: profileTag ?? null };
  for (const value of [...Object.values(names), text]) {
    if (value?.includes('\0') === true) throw invalid('Texts must not hold NUL characters.');
  }
  return { appId, pushkey, kind, ...names, data: text };
};

/** Names of the machine itself. */
const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/**
 * "MUST be an HTTPS URL with a path of /_matrix/push/v1/notify" (`POST /pushers/set`). What would go to a gateway on the same machine does
 * not pass a network: there, plain HTTP is let in. Whether deliveries may go to that address, the rules for outbound requests say.
 */
const checkUrl = (url: unknown): void => {
  if (typeof url !== 'string') throw new MatrixError('M_MISSING_PARAM', 'Missing parameters: data.url.');
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const isSafe = parsed?.protocol === 'https:' || (parsed?.protocol === 'http:' && LOOPBACK.test(parsed.hostname));
  if (!isSafe || parsed?.pathname !== PUSH_PATH) {
    throw invalid(`data.url must be an https:// URL with the path ${PUSH_PATH}.`);
  }
};
