import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { ProfileChanges } from '#src/services/user-data/profiles/profile-changes.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import type { DeviceListDelta } from '../device-lists/device-list-deltas.ts';
import type { SyncUser } from '../engine/sync-user.ts';
import type { ToldProfiles } from './connection.ts';

/** Users of one answer, and bytes of their profiles. The rest comes in the next one. */
const MAX_USERS = 200;
const MAX_BYTES = 1_048_576;
/** Users whose profiles are still to be sent; for those beyond, clients ask themselves. */
const MAX_DUE = 10_000;

/** What is sent of a user's profile; undefined when they share no room any more. */
export type ProfileUpdate = { readonly updated: JsonObject; readonly removed: readonly string[] } | undefined;

export interface ProfileAnswer {
  readonly users: ReadonlyMap<string, ProfileUpdate>;
  readonly told: ToldProfiles;
}

export interface ProfileRequest {
  readonly user: SyncUser;
  readonly fields: readonly string[] | undefined;
  /** What the client was told before; undefined: nothing. */
  readonly told: ToldProfiles | undefined;
  readonly since: PositionVector | undefined;
  readonly upTo: PositionVector;
  /** Users who are in the client's rooms for the first time with this answer. */
  readonly met: Iterable<string>;
  /** All users in the client's rooms: they get the fields that were not asked for before. */
  readonly inSight: () => Iterable<string>;
  readonly left: () => Promise<Pick<DeviceListDelta, 'left'>>;
}

/** The profiles extension: whole profiles of users who are new to the client, afterwards what changes. MSC4262. */
export class ProfileUpdates {
  readonly #profiles: Pick<ProfileService, 'profilesOf'>;
  readonly #changes: Pick<ProfileChanges, 'between'>;

  constructor(profiles: Pick<ProfileService, 'profilesOf'>, changes: Pick<ProfileChanges, 'between'>) {
    this.#profiles = profiles;
    this.#changes = changes;
  }

  async read(request: ProfileRequest): Promise<ProfileAnswer> {
    const { user, fields, told, since, upTo } = request;
    const wants = (field: string): boolean => fields === undefined || fields.includes(field);
    const isWider =
      told === undefined ||
      (told.fields !== undefined &&
        (fields === undefined || fields.some((field) => told.fields?.includes(field) === false)));
    const whole = new Set([...(told?.due ?? []), ...request.met, ...(isWider ? request.inSight() : [])]);
    const changed = new Map<string, Set<string>>();
    const left = new Set<string>();
    if (since !== undefined && told !== undefined) {
      const rooms = [...user.joined.values()];
      const shares = (userId: string): boolean => userId === user.userId || rooms.some((room) => room.isJoined(userId));
      for (const { userId, field } of await this.#changes.between(since, upTo)) {
        if (whole.has(userId) || !wants(field) || !shares(userId)) continue;
        const known = changed.get(userId);
        if (known === undefined) changed.set(userId, new Set([field]));
        else known.add(field);
      }
      for (const userId of (await request.left()).left) left.add(userId);
    }
    const names = [...changed.keys(), ...whole].filter((userId) => !left.has(userId));
    const now = names.slice(0, MAX_USERS);
    const profiles = await this.#profiles.profilesOf(now);
    const users = new Map<string, ProfileUpdate>();
    for (const userId of left) users.set(userId, undefined);
    const due = names.slice(MAX_USERS);
    let bytes = 0;
    for (const userId of now) {
      if (bytes > MAX_BYTES) {
        due.push(userId);
        continue;
      }
      const all = profiles.get(userId)?.fields ?? {};
      const some = changed.get(userId);
      const updated = Object.fromEntries(
        Object.entries(all).filter(([field]) => (some === undefined ? wants(field) : some.has(field))),
      );
      const removed = [...(some ?? [])].filter((field) => !Object.hasOwn(all, field));
      if (Object.keys(updated).length + removed.length === 0) continue;
      bytes += JSON.stringify(updated).length;
      users.set(userId, { updated, removed });
    }
    return { users, told: { fields, due: due.slice(0, MAX_DUE) } };
  }
}
