import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { ProfileChanges } from '#src/services/user-data/profiles/profile-changes.ts';
import type { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import type { DeviceListDelta } from '../device-lists/device-list-deltas.ts';
import type { SharedRoomCheck } from '../engine/shared-room-check.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { sharedUsers } from '../engine/shared-users.ts';
import type { SyncUser } from '../engine/sync-user.ts';

/** Users of one answer, and bytes of their profiles. The rest comes in the next one. */
export const MAX_USERS = 200;
export const MAX_BYTES = 1_048_576;
/** Users whose profiles are still to be sent; for those beyond, clients ask themselves. */
export const MAX_DUE = 10_000;

/** What is sent of a user's profile; undefined when they share no room any more. */
export type ProfileUpdate = { readonly updated: JsonObject; readonly removed: readonly string[] } | undefined;

/** A user whose whole profile is to be sent, with fields that the client may have from before and that may be removed since. */
export type DueProfile = string | readonly [userId: string, ...fields: string[]];

export interface ProfileQuestion {
  readonly user: SyncUser;
  /** The fields that the client asks for; undefined: all. */
  readonly fields: ReadonlySet<string> | undefined;
  /** Users whose whole profiles are sent. */
  readonly whole: Iterable<DueProfile>;
  /** Changes after this position are sent; undefined: none. */
  readonly since: PositionVector | undefined;
  readonly upTo: PositionVector;
  /** Users who share no room any more since then. */
  readonly left: () => Promise<Pick<DeviceListDelta, 'left'>>;
}

export interface ProfileAnswer {
  readonly users: ReadonlyMap<string, ProfileUpdate>;
  /** Those that did not fit, for the next answer. */
  readonly due: readonly DueProfile[];
}

/** Profiles of this server's users for sync: whole profiles of users who are new to the client, afterwards what changes. MSC4262, MSC4429. */
export class ProfileUpdates {
  readonly #profiles: Pick<ProfileService, 'profilesOf'>;
  readonly #changes: Pick<ProfileChanges, 'fewBetween'>;
  readonly #companions: SharedRoomCheck;
  readonly #rooms: Pick<RoomRegistry, 'visit'>;
  readonly #serverName: string;

  constructor(
    profiles: Pick<ProfileService, 'profilesOf'>,
    changes: Pick<ProfileChanges, 'fewBetween'>,
    companions: SharedRoomCheck,
    rooms: Pick<RoomRegistry, 'visit'>,
    serverName: string,
  ) {
    this.#profiles = profiles;
    this.#changes = changes;
    this.#companions = companions;
    this.#rooms = rooms;
    this.#serverName = serverName;
  }

  async read({ fields: asked, left, since, upTo, user, whole }: ProfileQuestion): Promise<ProfileAnswer> {
    const wants = (field: string): boolean => asked?.has(field) !== false;
    const changes = since === undefined ? [] : await this.#changes.fewBetween(since, upTo);
    /** Of so many changes it is not looked which they are: any user who shares a room may have changed or removed any field. */
    const anybody =
      changes === undefined
        ? [...(await sharedUsers(user, this.#rooms, 'local'))].map((userId): DueProfile => [userId, ...(asked ?? [])])
        : [];
    /** Users whose whole profiles are sent, with fields that may be removed. */
    const all = new Map<string, Set<string>>();
    for (const due of [...whole, ...anybody]) {
      const [userId, ...fields] = typeof due === 'string' ? [due] : due;
      // Changes of remote profiles are not sent by their servers.
      if (domainOf(userId) === this.#serverName) all.set(userId, new Set([...(all.get(userId) ?? []), ...fields]));
    }
    /** Users whose changed fields alone are sent. */
    const some = new Map<string, Set<string>>();
    const gone = new Set<string>();
    if (since !== undefined) {
      const wanted = changes?.filter(({ field }) => wants(field)) ?? [];
      const sharing = await this.#companions.among(
        user,
        wanted.map(({ userId }) => userId),
      );
      for (const { userId, field } of wanted) {
        const fields = all.get(userId) ?? some.get(userId);
        if (fields !== undefined) fields.add(field);
        else if (sharing.has(userId)) some.set(userId, new Set([field]));
      }
      for (const userId of (await left()).left) gone.add(userId);
    }
    const names = [...some.keys(), ...all.keys()].filter((userId) => !gone.has(userId));
    const now = names.slice(0, MAX_USERS);
    const profiles = await this.#profiles.profilesOf(now);
    // A user who was due since an earlier answer may have left by now.
    const sharing = await this.#companions.among(user, now);
    const users = new Map<string, ProfileUpdate>();
    for (const userId of gone) users.set(userId, undefined);
    const due = names.slice(MAX_USERS);
    let bytes = 0;
    for (const userId of now) {
      if (bytes > MAX_BYTES) {
        due.push(userId);
        continue;
      }
      if (!some.has(userId) && !sharing.has(userId)) continue;
      const fields = profiles.get(userId)?.fields ?? {};
      const changed = some.get(userId);
      const updated = Object.fromEntries(
        Object.entries(fields).filter(([field]) => (changed === undefined ? wants(field) : changed.has(field))),
      );
      const removed = [...(changed ?? all.get(userId) ?? [])].filter((field) => !Object.hasOwn(fields, field));
      if (Object.keys(updated).length + removed.length === 0) continue;
      bytes += JSON.stringify(updated).length;
      users.set(userId, { updated, removed });
    }
    const dueOf = (userId: string): DueProfile => {
      const fields = [...(some.get(userId) ?? all.get(userId) ?? [])];
      return fields.length === 0 ? userId : [userId, ...fields];
    };
    return { users, due: due.slice(0, MAX_DUE).map(dueOf) };
  }
}
