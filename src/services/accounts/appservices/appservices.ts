import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { Signal, type Subscribable } from '#src/kernel/signal.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { listAppservices } from '#src/storage/accounts/appservices.ts';
import type { Database } from '#src/storage/database.ts';
import { type ApplicationService, isExclusiveIn, isIn } from './application-service.ts';
import { conflictOf } from './conflicts.ts';
import {
  hashOfToken,
  parseRegistration,
  readRegistration,
  RegistrationConflict,
  withoutToken,
} from './registration.ts';

/** A registration's file. */
export interface RegistrationFile {
  readonly path: string;
  /** YAML */
  readonly text: string;
}

export interface AppservicesDependencies {
  readonly database: Database;
  readonly logger: Logger;
  readonly serverName: string;
  /** Reads the files of `appservices.files`. @throws with what is wrong */
  readonly readFiles: () => Promise<readonly RegistrationFile[]>;
}

/** What another set of registrations changes. */
export interface RegistrationsChanged {
  /** Those that are new or different. */
  readonly changed: readonly ApplicationService[];
  /** Ids of those that are gone. */
  readonly removed: readonly string[];
}

/** Users, aliases and rooms whose interested services are cached. */
const REMEMBERED = 20_000;
/** The `source` of registrations that administrators added. */
export const DATABASE = 'database';
const NONE: readonly ApplicationService[] = [];

type Interests = LRUCache<string, readonly ApplicationService[]>;

/** The application services of this server, and what each of them is interested in. Asking costs no statement. */
export class Appservices {
  readonly #deps: AppservicesDependencies;
  readonly #turns = new SerialByKey<'load'>();
  readonly #changed = new Signal<RegistrationsChanged>();
  #all: readonly ApplicationService[] = NONE;
  #byId = new Map<string, ApplicationService>();
  #byToken = new Map<string, ApplicationService>();
  readonly #users: Interests = new LRUCache(atMost(REMEMBERED));
  readonly #aliases: Interests = new LRUCache(atMost(REMEMBERED));
  readonly #rooms: Interests = new LRUCache(atMost(REMEMBERED));

  constructor(deps: AppservicesDependencies) {
    this.#deps = deps;
  }

  /** Fires when registrations change, in the turn in which they come into force, the first ones included. */
  get changed(): Subscribable<RegistrationsChanged> {
    return this.#changed;
  }

  /**
   * Reads the registrations of the files and of the database, and puts them into force together, or not at all.
   *
   * @throws Error with a sentence for the operator: what is wrong with which registration, or which two are in each other's way
   */
  load(): Promise<void> {
    return this.#turns.run('load', async () => {
      const ofFiles = await this.#readFiles();
      this.#put(assertApart([...ofFiles, ...(await this.#readAdded())]));
    });
  }

  /** The same for those of the database alone: those of files stay as they are in force. */
  loadAdded(): Promise<void> {
    return this.#turns.run('load', async () => {
      const ofFiles = this.#all.filter(({ source }) => source !== DATABASE);
      this.#put(assertApart([...ofFiles, ...(await this.#readAdded())]));
    });
  }

  /** All of them, in the order of files, and those of the database after them. */
  all(): readonly ApplicationService[] {
    return this.#all;
  }

  byId(id: string): ApplicationService | undefined {
    return this.#byId.get(id);
  }

  /** The service whose `as_token` this is. */
  byToken(token: string): ApplicationService | undefined {
    return this.#byToken.size === 0 ? undefined : this.#byToken.get(hashOfToken(token));
  }

  /** The services that a user belongs to: as their sender, or as a local user of a namespace. */
  interestedInUser(userId: string): readonly ApplicationService[] {
    return this.#interested(this.#users, userId, (service) => this.isUserOf(service, userId));
  }

  /** Those that have an alias in a namespace. */
  interestedInAlias(alias: string): readonly ApplicationService[] {
    return this.#interested(this.#aliases, alias, ({ namespaces }) => isIn(namespaces.aliases, alias));
  }

  /** Those that have a room in a namespace, by its id alone; the caller asks for its users and aliases. */
  interestedInRoom(roomId: string): readonly ApplicationService[] {
    return this.#interested(this.#rooms, roomId, ({ namespaces }) => isIn(namespaces.rooms, roomId));
  }

  /** Whether a service may act as a user: its sender, or a local user of one of its namespaces, exclusive or not. */
  isUserOf({ namespaces, sender }: ApplicationService, userId: string): boolean {
    return userId === sender || (domainOf(userId) === this.#deps.serverName && isIn(namespaces.users, userId));
  }

  /** The service to which a user belongs exclusively: as its sender, or by an exclusive namespace. */
  ownerOfUser(userId: string): ApplicationService | undefined {
    if (domainOf(userId) !== this.#deps.serverName) return undefined;
    return this.interestedInUser(userId).find(
      ({ namespaces, sender }) => sender === userId || isExclusiveIn(namespaces.users, userId),
    );
  }

  /** The service to which an alias belongs exclusively. */
  ownerOfAlias(alias: string): ApplicationService | undefined {
    return this.interestedInAlias(alias).find(({ namespaces }) => isExclusiveIn(namespaces.aliases, alias));
  }

  /**
   * Whether a registration could be added to those that are there, in place of the one with its id.
   *
   * @throws RegistrationConflict
   */
  assertFits(service: ApplicationService): void {
    for (const other of this.#all) {
      const conflict = other.id === service.id ? undefined : conflictOf(service, other);
      if (conflict !== undefined) throw new RegistrationConflict(conflict);
    }
  }

  #interested(
    known: Interests,
    value: string,
    isInterested: (service: ApplicationService) => boolean,
  ): readonly ApplicationService[] {
    if (this.#all.length === 0) return NONE;
    let found = known.get(value);
    if (found === undefined) {
      found = this.#all.filter(isInterested);
      if (found.length === 0) found = NONE;
      known.set(value, found);
    }
    return found;
  }

  async #readFiles(): Promise<readonly ApplicationService[]> {
    const { readFiles, serverName } = this.#deps;
    const services: ApplicationService[] = [];
    for (const { path, text } of await readFiles()) {
      const kept = withoutToken(parseRegistration(text, path), path);
      services.push(await readRegistration(kept, path, serverName));
    }
    return services;
  }

  async #readAdded(): Promise<readonly ApplicationService[]> {
    const { database, serverName } = this.#deps;
    const services: ApplicationService[] = [];
    for (const { asTokenHash, registration } of await listAppservices(database)) {
      const kept = { asTokenHash, registration: JSON.parse(registration) as Record<string, unknown> };
      services.push(await readRegistration(kept, DATABASE, serverName));
    }
    return services;
  }

  #put(services: readonly ApplicationService[]): void {
    const before = this.#byId;
    const changed = services.filter((service) => !isSame(before.get(service.id), service));
    this.#all = services;
    this.#byId = new Map(services.map((service) => [service.id, service]));
    this.#byToken = new Map(services.map((service) => [service.asTokenHash, service]));
    for (const known of [this.#users, this.#aliases, this.#rooms]) known.clear();
    const removed = [...before.keys()].filter((id) => !this.#byId.has(id));
    if (changed.length === 0 && removed.length === 0) return;
    this.#deps.logger.info('application services are registered', {
      registered: services.map(({ id }) => id),
      changed: changed.map(({ id }) => id),
      removed,
    });
    this.#changed.emit({ changed, removed });
  }
}

/** @throws RegistrationConflict when two of them are in each other's way */
const assertApart = (services: readonly ApplicationService[]): readonly ApplicationService[] => {
  for (const [index, service] of services.entries())
    for (const other of services.slice(0, index)) {
      const conflict = conflictOf(other, service);
      if (conflict !== undefined) throw new RegistrationConflict(conflict);
    }
  return services;
};

const isSame = (before: ApplicationService | undefined, after: ApplicationService): boolean =>
  before !== undefined &&
  before.asTokenHash === after.asTokenHash &&
  before.hsToken === after.hsToken &&
  before.source === after.source &&
  JSON.stringify(before.shown) === JSON.stringify(after.shown);
