import type { ProfileChanges } from './profile-changes.ts';
import { LiveCache } from '#src/kernel/caches/live-cache.ts';
import { carryProfile, listUser } from '#src/jobs/definitions.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { Signal } from '#src/kernel/signal.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { mediaNamedIn } from '#src/protocol/media/media-uris.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { releaseNamed } from '#src/storage/media/references.ts';
import { profileFields, removeProfileField, setProfileField } from '#src/storage/user-data/profiles.ts';
import { assertProfileKey, assertProfileSize, MAX_NAME_LENGTH, profileValueIn } from './profile-fields.ts';
import type { RemoteProfiles } from './remote-profiles.ts';

/** A user's profile. */
export interface Profile {
  readonly displayname: string | undefined;
  readonly avatarUrl: string | undefined;
  /** All fields as clients see them. */
  readonly fields: JsonObject;
}

/** A changed name or avatar. Both are the present values, also the unchanged one. */
export interface ProfileChanged {
  readonly userId: string;
  readonly displayname: string | undefined;
  readonly avatarUrl: string | undefined;
}

/** The requester of a change. */
export interface ProfileEditor {
  readonly userId: string;
  readonly isAdmin: boolean;
  readonly isGuest?: boolean;
}

export interface ProfileServiceOptions {
  readonly database: Database;
  /** Notes which fields change. */
  readonly changes: Pick<ProfileChanges, 'mark' | 'published'>;
  /** Whether this server has an account of this name; an application service may be asked to create it. @throws MatrixError M_CONNECTION_TIMEOUT */
  readonly accountExists: (userId: string) => Promise<boolean>;
  readonly clock: Clock;
  readonly serverName: string;
  readonly remote: RemoteProfiles;
  /** Fields that a profile may have; default 100. */
  readonly maxFields?: number;
  /** Bytes that profiles may take in memory; default 32 MiB. */
  readonly cacheBytes?: number;
}

/** Sets a field of a profile, or removes it, within a transaction. */
type FieldChange = (tx: Tx, key: string, value: JsonValue | undefined) => Promise<void>;

const MAX_FIELDS = 100;
/** Pieces of media that are looked for in one field. */
const MAX_NAMED = 100;
const CACHE_BYTES = 32 * 1024 * 1024;

const textOf = (value: JsonValue | undefined): string | undefined => (typeof value === 'string' ? value : undefined);

const profileFrom = (fields: JsonObject): Profile => ({
  displayname: textOf(fields['displayname']),
  avatarUrl: textOf(fields['avatar_url']),
  fields,
});

/** Profiles: stores those of local users, and fetches those of others. Client-Server API, "Profiles". */
export class ProfileService {
  readonly #database: Database;
  readonly #accountExists: (userId: string) => Promise<boolean>;
  readonly #clock: Clock;
  readonly #serverName: string;
  readonly #remote: RemoteProfiles;
  readonly #maxFields: number;
  readonly #profiles: LiveCache<Profile>;
  readonly #noted: Pick<ProfileChanges, 'mark' | 'published'>;
  readonly #changes = new SerialByKey<string>();
  /** Fires when a user's name or avatar changed. */
  readonly changed = new Signal<ProfileChanged>();

  constructor(options: ProfileServiceOptions) {
    this.#database = options.database;
    this.#noted = options.changes;
    this.#accountExists = options.accountExists;
    this.#clock = options.clock;
    this.#serverName = options.serverName;
    this.#remote = options.remote;
    this.#maxFields = options.maxFields ?? MAX_FIELDS;
    this.#profiles = new LiveCache({
      name: 'profiles',
      maxSize: options.cacheBytes ?? CACHE_BYTES,
      sizeOf: ({ fields }, userId) => 300 + 2 * userId.length + 2 * JSON.stringify(fields).length,
    });
  }

  /** The profile of a user of this server; an empty one for a user without any. */
  async profileOf(userId: string): Promise<Profile> {
    return this.#profiles.peek(userId) ?? (await this.profilesOf([userId])).get(userId) ?? profileFrom({});
  }

  /** The profiles of several users; those that are not in memory are read in one statement. */
  profilesOf(userIds: readonly string[]): Promise<ReadonlyMap<string, Profile>> {
    return this.#profiles.getAll(userIds, async (missing) => {
      const rows = Map.groupBy(await profileFields(this.#database, missing), ({ userId }) => userId);
      return new Map(
        missing.map((userId) => {
          const fields = (rows.get(userId) ?? []).map(({ field, value }) => [field, JSON.parse(value) as JsonValue]);
          return [userId, profileFrom(Object.fromEntries(fields) as JsonObject)];
        }),
      );
    });
  }

  /**
   * What every client may see of a user's profile.
   *
   * @throws MatrixError M_INVALID_PARAM for what is no user id; M_NOT_FOUND for users that do not exist on their server; M_FORBIDDEN,
   *   M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT when another server cannot be asked
   */
  async read(userId: string): Promise<Profile> {
    if (!isUserId(userId))
      throw new MatrixError('M_INVALID_PARAM', `${userId} is not a user id, such as @alice:example.org.`);
    if (domainOf(userId) !== this.#serverName) return profileFrom(await this.#remote.read(userId));
    return this.readOwn(userId);
  }

  /** The profile of any user, for display: an empty one when it cannot be fetched. */
  async known(userId: string): Promise<Profile> {
    if (domainOf(userId) === this.#serverName) return this.profileOf(userId);
    try {
      return await this.read(userId);
    } catch (error) {
      if (error instanceof MatrixError) return profileFrom({});
      throw error;
    }
  }

  /** The public profile of a local user. @throws MatrixError M_NOT_FOUND, M_CONNECTION_TIMEOUT (a bridge) */
  async readOwn(userId: string): Promise<Profile> {
    const profile = await this.profileOf(userId);
    if (Object.keys(profile.fields).length > 0) return profile;
    if (!(await this.#accountExists(userId)))
      throw new MatrixError('M_NOT_FOUND', 'Profile not found: this server has no such user.');
    // An application service may have created the user when it was asked.
    return this.profileOf(userId);
  }

  /**
   * One field of a profile.
   *
   * @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM, M_KEY_TOO_LARGE
   */
  async readField(userId: string, key: string): Promise<JsonValue> {
    assertProfileKey(key);
    const { fields } = await this.read(userId);
    const value = Object.hasOwn(fields, key) ? fields[key] : undefined;
    if (value === undefined) throw new MatrixError('M_NOT_FOUND', `This user has no profile field ${key}.`);
    return value;
  }

  /**
   * Sets one field.
   *
   * @param body an object with the field as its member
   * @throws MatrixError M_FORBIDDEN for the profile of another user; M_NOT_FOUND; M_KEY_TOO_LARGE, M_PROFILE_TOO_LARGE, M_TOO_LARGE,
   *   M_MISSING_PARAM, M_BAD_JSON, M_INVALID_PARAM; M_GUEST_ACCESS_FORBIDDEN
   */
  async set(editor: ProfileEditor, userId: string, key: string, body: JsonObject): Promise<void> {
    await this.#assertMayEdit(editor, userId, key);
    assertProfileKey(key);
    await this.#change(userId, key, profileValueIn(key, body));
  }

  /** Removes one field; one that is not there is removed already. */
  async remove(editor: ProfileEditor, userId: string, key: string): Promise<void> {
    await this.#assertMayEdit(editor, userId, key);
    assertProfileKey(key);
    await this.#change(userId, key, undefined);
  }

  /** The display name that a user registers with, as far as it can be one, in the transaction that makes the account. */
  async nameNewUser(tx: Tx, userId: string, displayname: string): Promise<void> {
    const name = displayname.slice(0, MAX_NAME_LENGTH).toWellFormed();
    if (name === '') return;
    await setProfileField(tx, userId, 'displayname', JSON.stringify(name));
    tx.afterCommit(() => this.#profiles.forget(userId));
  }

  /** Forgets an erased user. Nothing is sent to rooms: the user has left them. */
  forget(userId: string): void {
    this.#profiles.forget(userId);
    this.changed.emit({ userId, displayname: undefined, avatarUrl: undefined });
  }

  async #assertMayEdit(editor: ProfileEditor, userId: string, key: string): Promise<void> {
    // "Guest users may only modify their display name". Client-Server API, "Guest Access".
    if (editor.isGuest === true && key !== 'displayname')
      throw new MatrixError(
        'M_GUEST_ACCESS_FORBIDDEN',
        'Guests can change nothing of their profile but the display name.',
      );
    if (editor.userId === userId) return;
    if (!editor.isAdmin) throw new MatrixError('M_FORBIDDEN', 'You can only change your own profile.');
    if (!(await this.#accountExists(userId))) throw new MatrixError('M_NOT_FOUND', 'This server has no such user.');
  }

  #change(userId: string, key: string, value: JsonValue | undefined): Promise<void> {
    return this.#inTurn(userId, (change) => this.#database.write((tx) => change(tx, key, value)));
  }

  /**
   * Changes names and avatars within a transaction of the caller, who has checked that they are allowed. Changes of one profile wait for
   * each other.
   *
   * @param work opens the transaction; `change` sets a field, or removes it: an empty text, or null
   * @throws MatrixError M_BAD_JSON, M_INVALID_PARAM, M_TOO_LARGE, M_PROFILE_TOO_LARGE
   */
  changing<T>(
    userId: string,
    work: (change: (tx: Tx, key: 'displayname' | 'avatar_url', value: string | null) => Promise<void>) => Promise<T>,
  ): Promise<T> {
    return this.#inTurn(userId, (change) =>
      work((tx, key, value) =>
        change(tx, key, value === '' || value === null ? undefined : profileValueIn(key, { [key]: value })),
      ),
    );
  }

  #inTurn<T>(userId: string, work: (change: FieldChange) => Promise<T>): Promise<T> {
    return this.#changes.run(userId, async () => {
      let { fields } = await this.profileOf(userId);
      let hasChanged = false;
      let isShown = false;
      const done = await work(async (tx, key, value) => {
        const { [key]: old, ...others } = fields;
        if (old === undefined && value === undefined) return;
        if (old !== undefined && value !== undefined && JSON.stringify(old) === JSON.stringify(value)) return;
        const wanted = value === undefined ? others : { ...others, [key]: value };
        if (value !== undefined) assertProfileSize(wanted);
        if (old === undefined && Object.keys(wanted).length > this.#maxFields)
          throw quotaFull('quotas.profile_fields', `A profile has at most ${this.#maxFields} fields on this server.`);
        if (value === undefined) await removeProfileField(tx, userId, key);
        else await setProfileField(tx, userId, key, JSON.stringify(value));
        // An image that the user uploaded, and is shown by no longer, goes if nothing else names it.
        const named = mediaNamedIn(JSON.stringify(old ?? null), this.#serverName, MAX_NAMED);
        await releaseNamed(tx, named, userId, this.#clock.now());
        await this.#noted.mark(tx, userId, key);
        fields = wanted;
        hasChanged = true;
        if (key !== 'displayname' && key !== 'avatar_url') return;
        isShown = true;
        await tx.enqueue(carryProfile, { userId });
        await tx.enqueue(listUser, { userId });
      });
      if (!hasChanged) return done;
      const profile = profileFrom(fields);
      this.#profiles.set(userId, profile);
      await this.#noted.published(userId);
      if (isShown) this.changed.emit({ userId, displayname: profile.displayname, avatarUrl: profile.avatarUrl });
      return done;
    });
  }
}
