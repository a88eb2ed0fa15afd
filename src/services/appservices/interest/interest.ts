import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import { aliasesOfRooms } from '#src/storage/appservices/extras.ts';
import type { Database } from '#src/storage/database.ts';

/** Users of a room that are a service's. */
interface Known {
  /** The room's `membersVersion`, and which registrations were in force. */
  members: number;
  registrations: number;
  /** Those who are or were members, by id of the service. */
  readonly users: Map<string, Set<string>>;
}

export interface InterestOptions {
  readonly database: Database;
  readonly appservices: Pick<
    Appservices,
    'all' | 'byId' | 'changed' | 'interestedInAlias' | 'interestedInRoom' | 'interestedInUser'
  >;
  readonly loader: Pick<EventLoader, 'one'>;
}

/**
 * Finds the application services that are interested in rooms and events: those with the room, one of its aliases or one of its members in a
 * namespace, and those whose user sent the event or is its state key. Application Service API, "Registration".
 */
export class Interest {
  readonly #options: InterestOptions;
  readonly #rooms = new WeakMap<Room, Known>();
  #registrations = 0;

  constructor(options: InterestOptions) {
    this.#options = options;
    options.appservices.changed.subscribe(() => {
      this.#registrations += 1;
    });
  }

  /** Whether events of a room may be of interest to any service, as far as that is known without looking at all its members. */
  mayConcern(room: Room): boolean {
    const { appservices } = this.#options;
    if (appservices.interestedInRoom(room.roomId).length > 0 || this.#usesAliases) return true;
    const known = this.#rooms.get(room);
    const isCurrent = known?.members === room.membersVersion && known.registrations === this.#registrations;
    return !isCurrent || known.users.size > 0;
  }

  /** The services interested in a room as it is now, for ephemeral events. */
  async now(rooms: Iterable<Room>): Promise<ReadonlyMap<Room, ReadonlySet<ApplicationService>>> {
    const all = [...new Set(rooms)];
    const byAlias = await this.#byAliases(all);
    return new Map(
      all.map((room) => {
        const found = new Set([...this.#options.appservices.interestedInRoom(room.roomId), ...(byAlias(room) ?? [])]);
        for (const [id, users] of this.#usersIn(room)) {
          const service = this.#options.appservices.byId(id);
          if (service !== undefined && some(users, (userId) => room.isJoined(userId))) found.add(service);
        }
        return [room, found];
      }),
    );
  }

  /** The services that get each of these events, in the same order. */
  async of(events: readonly FollowedEvent[]): Promise<(readonly ApplicationService[])[]> {
    const byAlias = await this.#byAliases(new Set(events.map(({ room }) => room)));
    const found: (readonly ApplicationService[])[] = [];
    for (const { room, event } of events) found.push(await this.#ofEvent(room, event, byAlias(room)));
    return found;
  }

  async #ofEvent(
    room: Room,
    event: StoredEvent,
    byAlias: readonly ApplicationService[] | undefined,
  ): Promise<readonly ApplicationService[]> {
    const { appservices } = this.#options;
    const found = new Set<ApplicationService>(appservices.interestedInRoom(room.roomId));
    const add = (services: readonly ApplicationService[] = []): void => {
      for (const service of services) found.add(service);
    };
    add(byAlias);
    add(appservices.interestedInUser(event.sender));
    if (event.type === 'm.room.member' && event.stateKey !== undefined)
      add(appservices.interestedInUser(event.stateKey));
    for (const [id, users] of this.#usersIn(room)) {
      const service = appservices.byId(id);
      if (service === undefined || found.has(service)) continue;
      for (const userId of users)
        if (await this.#wasJoined(room, userId, event)) {
          found.add(service);
          break;
        }
    }
    return found.size === 0 ? NONE : [...found];
  }

  /** Whether a user was in the room when the event came. It may have come a moment ago, and they may have left since. */
  #wasJoined(room: Room, userId: string, event: StoredEvent): boolean | Promise<boolean> {
    const member = room.member(userId);
    if (member === undefined) return false;
    if (member.membership === 'join') return member.since <= event.nid;
    if (member.since <= event.nid || member.event === 0) return false;
    return this.#options.loader
      .one(room, member.event)
      .then((ended) => ended?.previous !== undefined && membershipIn(ended.previous.content) === 'join');
  }

  get #usesAliases(): boolean {
    return this.#options.appservices.all().some(({ namespaces }) => namespaces.aliases.length > 0);
  }

  async #byAliases(rooms: Iterable<Room>): Promise<(room: Room) => readonly ApplicationService[] | undefined> {
    if (!this.#usesAliases) return () => undefined;
    const found = new Map<number, ApplicationService[]>();
    const nids = Array.from(rooms, ({ nid }) => nid);
    for (const { alias, room } of nids.length === 0 ? [] : await aliasesOfRooms(this.#options.database, nids)) {
      const services = this.#options.appservices.interestedInAlias(alias);
      if (services.length > 0) found.set(room, [...(found.get(room) ?? []), ...services]);
    }
    return ({ nid }) => found.get(nid);
  }

  /** The members of a room that are a service's, by its id. Follows each change, and is looked up for every event. */
  #usersIn(room: Room): ReadonlyMap<string, ReadonlySet<string>> {
    let known = this.#rooms.get(room);
    const { membersVersion: members } = room;
    const registrations = this.#registrations;
    const changed =
      known?.registrations === registrations
        ? known.members === members
          ? NONE
          : room.membersChangedSince(known.members)
        : undefined;
    if (known === undefined || changed === undefined) {
      this.#rooms.set(room, (known = { members, registrations, users: new Map<string, Set<string>>() }));
      for (const { userId, local } of room.members.values()) if (local) this.#add(known, userId);
    } else {
      for (const userId of changed) this.#add(known, userId);
      known.members = members;
    }
    return known.users;
  }

  #add({ users }: Known, userId: string): void {
    for (const { id } of this.#options.appservices.interestedInUser(userId)) {
      const its = users.get(id);
      if (its === undefined) users.set(id, new Set([userId]));
      else its.add(userId);
    }
  }
}

const NONE: readonly never[] = [];

const some = <T>(values: Iterable<T>, is: (value: T) => boolean): boolean => {
  for (const value of values) if (is(value)) return true;
  return false;
};
