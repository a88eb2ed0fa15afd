import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Logged } from './service-log.ts';

/** Reads the stripped state of a room for a user who is invited or knocks. */
export interface StrippedStates {
  strippedStateFor(room: Room, userId: string): Promise<readonly object[]>;
}

export interface AppserviceEventsOptions {
  readonly rooms: Pick<RoomRegistry, 'load'>;
  readonly loader: Pick<EventLoader, 'load'>;
  readonly stripped: StrippedStates;
  readonly appservices: Pick<Appservices, 'isUserOf'>;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Writes events for application services: in the client format, with their room and age, and for invites of their users the stripped
 * state. Events that were redacted meanwhile are redacted here, too. Application Service API, `ClientEvent`.
 */
export class AppserviceEvents {
  readonly #options: AppserviceEventsOptions;

  constructor(options: AppserviceEventsOptions) {
    this.#options = options;
  }

  /** The JSON text of each event; undefined for deleted ones. */
  async write(service: ApplicationService, logged: readonly Logged[]): Promise<(string | undefined)[]> {
    const found = await this.#load(logged.filter(({ known }) => known === undefined));
    const now = this.#options.clock.now();
    const texts: (string | undefined)[] = [];
    for (const one of logged) {
      const { room, event } = one.known ?? found.get(one.nid) ?? {};
      texts.push(room === undefined || event === undefined ? undefined : await this.#text(service, room, event, now));
    }
    return texts;
  }

  async #load(
    missing: readonly Logged[],
  ): Promise<ReadonlyMap<number, { readonly room: Room; readonly event: StoredEvent }>> {
    const found = new Map<number, { readonly room: Room; readonly event: StoredEvent }>();
    if (missing.length === 0) return found;
    const rooms = await this.#options.rooms.load([...new Set(missing.map(({ room }) => room))]);
    const places = missing.flatMap(({ nid, room: roomNid }) => {
      const room = rooms.get(roomNid);
      return room === undefined ? [] : [{ room, nid }];
    });
    const events = await this.#options.loader.load(places);
    for (const { nid, room } of places) {
      const event = events.get(nid);
      if (event !== undefined) found.set(nid, { room, event });
    }
    return found;
  }

  async #text(service: ApplicationService, room: Room, event: StoredEvent, now: number): Promise<string | undefined> {
    try {
      return event.clientJson({ now, strippedState: await this.#strippedState(service, room, event) }, true);
    } catch (err) {
      this.#options.logger.error('an event cannot be written for an application service, and is left out', {
        appservice: service.id,
        event_id: event.eventId,
        err,
      });
      return undefined;
    }
  }

  /** Members of `unsigned` for an invite or a knock of a user of the service's. */
  async #strippedState(service: ApplicationService, room: Room, event: StoredEvent): Promise<string | undefined> {
    const { appservices, stripped } = this.#options;
    const { stateKey: userId, type } = event;
    if (type !== 'm.room.member' || userId === undefined || !appservices.isUserOf(service, userId)) return undefined;
    const { membership } = event.content;
    // An invite or knock that has ended has no stripped state.
    if ((membership !== 'invite' && membership !== 'knock') || room.member(userId)?.event !== event.nid)
      return undefined;
    const state = await stripped.strippedStateFor(room, userId);
    return `"${membership}_room_state":${JSON.stringify(state)}`;
  }
}
