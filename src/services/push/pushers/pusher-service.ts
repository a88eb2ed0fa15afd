import type { Clock } from '#src/kernel/clock.ts';
import { Signal } from '#src/kernel/signal.ts';
import { MatrixError, invalidParam } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { isGatewayUrl } from '#src/remote/push-gateway.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import {
  countPushers,
  deletePusher,
  deletePusherById,
  deletePushersOfOthers,
  type KnownPusher,
  pusherById,
  type PusherRecord,
  type NewPusher,
  pushersOf,
  putPusher,
} from '#src/storage/push/pushers.ts';
import { takeUserTurn } from '#src/storage/user-turn.ts';
import type { PusherRegistry } from './pusher-registry.ts';

export type { PusherRecord } from '#src/storage/push/pushers.ts';

export const MAX_PUSHKEY_BYTES = 512;
export const MAX_APP_ID = 64;
export const MAX_DATA_BYTES = 16_384;
export const MAX_NAME_BYTES = 1_024;

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
  /** Whether it is enabled (MSC3881). */
  readonly enabled: boolean;
}

/** A kind of pusher, such as `http`. */
export interface PusherKind {
  readonly name: string;
  /** Whether it stays when the device that created it is logged out, as e-mail pushers do. */
  readonly outlivesDevice?: boolean;
  /** @throws MatrixError for an invalid pusher of this kind */
  check(requester: Requester, pusher: CheckedPusher): Promise<void> | void;
}

/** A pusher with all members that the specification requires. */
export interface CheckedPusher extends Omit<
  PusherRequest,
  'kind' | 'append' | 'data' | 'profileTag' | 'appDisplayName' | 'deviceDisplayName' | 'lang'
> {
  readonly appDisplayName: string;
  readonly deviceDisplayName: string;
  readonly profileTag: string | null;
  readonly lang: string;
  readonly data: JsonObject;
}

export interface PusherServiceOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly registry: PusherRegistry;
  readonly kinds: readonly PusherKind[];
  /** Pushers that a user may have. */
  readonly most: number;
}

/** Creates, changes and deletes pushers. Client-Server API, "Push Notifications". */
export class PusherService {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #registry: PusherRegistry;
  readonly #kinds: ReadonlyMap<string, PusherKind>;
  readonly #most: number;
  /** Fires once a pusher was made or changed. */
  readonly wasSet = new Signal<PusherRecord>();

  constructor({ database, clock, registry, kinds, most }: PusherServiceOptions) {
    this.#database = database;
    this.#clock = clock;
    this.#registry = registry;
    this.#kinds = new Map(kinds.map((kind) => [kind.name, kind]));
    this.#most = most;
  }

  /** The oldest first. */
  list(userId: string): Promise<readonly PusherRecord[]> {
    return pushersOf(this.#database, userId);
  }

  /** A pusher of any user; undefined when it was deleted. */
  byId(id: number): Promise<KnownPusher | undefined> {
    return pusherById(this.#database, id);
  }

  /** Makes, changes or deletes a pusher. @throws MatrixError M_MISSING_PARAM, M_INVALID_PARAM, M_TOO_LARGE for more than a user may have */
  async set(requester: Requester, request: PusherRequest): Promise<void> {
    const { userId, deviceId } = requester;
    const { appId, pushkey, kind } = request;
    if (appId === '' || [...appId].length > MAX_APP_ID || !isStorable(appId))
      throw invalidParam(`app_id has 1 to ${MAX_APP_ID} characters.`);
    if (pushkey === '' || Buffer.byteLength(pushkey) > MAX_PUSHKEY_BYTES || !isStorable(pushkey))
      throw invalidParam(`pushkey has 1 to ${MAX_PUSHKEY_BYTES} bytes.`);
    if (kind === null) {
      await this.#database.write(async (tx) => this.#gone(tx, await deletePusher(tx, userId, appId, pushkey)));
      return;
    }
    if (deviceId === undefined) throw invalidParam('A pusher belongs to a device, and this access token has none.');
    const checked = checkedPusher(request);
    const known = this.#kinds.get(kind);
    if (known === undefined) {
      const names = [...this.#kinds.keys()].map((name) => `"${name}"`).join(' or ');
      throw invalidParam(`This server has no pushers of the kind ${kind.slice(0, 40)}: use ${names}.`);
    }
    await known.check(requester, checked);
    const params: NewPusher = {
      ...checked,
      kind,
      userId,
      deviceId: known.outlivesDevice === true ? null : deviceId,
      data: JSON.stringify(checked.data),
      createdTs: this.#clock.now(),
    };
    await this.#database.write(async (tx) => {
      if (!request.append) this.#gone(tx, await deletePushersOfOthers(tx, userId, appId, pushkey));
      const pusher = await putPusher(tx, params);
      await takeUserTurn(tx, userId);
      if ((await countPushers(tx, userId)) > this.#most)
        throw quotaFull('quotas.pushers', `A user has at most ${this.#most} pushers on this server.`);
      tx.afterCommit(() => {
        this.#registry.put(pusher);
        this.wasSet.emit(pusher);
      });
    });
  }

  /** Deletes a pusher whose pushkey its gateway has rejected. Push Gateway API, `rejected`. */
  async remove(id: number): Promise<void> {
    await this.#database.write(async (tx) => {
      await deletePusherById(tx, id);
      this.#gone(tx, [id]);
    });
  }

  #gone(tx: Tx, ids: readonly number[]): void {
    if (ids.length === 0) return;
    tx.afterCommit(() => {
      for (const id of ids) this.#registry.remove(String(id));
    });
  }
}

/** PostgreSQL's text holds neither NUL nor halves of characters. */
const isStorable = (text: string): boolean => !text.includes('\0') && text.isWellFormed();

const checkedPusher = (request: PusherRequest): CheckedPusher => {
  const { appDisplayName, deviceDisplayName, profileTag, lang, data, appId, pushkey, enabled } = request;
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
  const text = JSON.stringify(data);
  if (Buffer.byteLength(text) > MAX_DATA_BYTES) throw invalidParam(`data has at most ${MAX_DATA_BYTES} bytes.`);
  const names = { appDisplayName, deviceDisplayName, lang, profileTag: profileTag ?? null };
  for (const value of Object.values(names)) {
    if (value !== null && Buffer.byteLength(value) > MAX_NAME_BYTES)
      throw invalidParam(`Names, tags and languages have at most ${MAX_NAME_BYTES} bytes.`);
    if (value !== null && !isStorable(value)) throw invalidParam('Texts must be well-formed, without NUL characters.');
  }
  return { appId, pushkey, enabled, ...names, data };
};

/**
 * The kind `http`: pushers with a push gateway. The rules for outbound requests decide which gateways are allowed.
 *
 * @param allowHttp whether plain HTTP will do
 */
export const httpPushers = (allowHttp: boolean): PusherKind => ({
  name: 'http',
  check(_requester, { data: { url, format } }) {
    if (format !== undefined && typeof format !== 'string') throw invalidParam('data.format must be a string.');
    if (url === undefined) throw new MatrixError('M_MISSING_PARAM', 'Missing parameters: data.url.');
    if (typeof url !== 'string' || !URL.canParse(url) || !isGatewayUrl(new URL(url), allowHttp))
      throw invalidParam(
        'data.url must be an https:// URL with the path /_matrix/push/v1/notify, without a user name.',
      );
  },
});
