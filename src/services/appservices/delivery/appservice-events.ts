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
    const rooms = await this.#options.rooms.load([...new Set(logged.map(({ room }) => room))]);
    const places = logged.flatMap(({ known, nid, room: roomNid }) => {
      const room = rooms.get(roomNid);
      return room === undefined || known !== undefined ? [] : [{ room, nid }];
    });
    const events = await this.#options.loader.load(places);
    const now = this.#options.clock.now();
    const texts: (string | undefined)[] = [];
    for (const { known, nid, room: roomNid } of logged) {
      const room = rooms.get(roomNid);
      const event = known ?? events.get(nid);
      texts.push(room === undefined || event === undefined ? undefined : await this.#text(service, room, event, now));
    }
    return texts;
  }

  async #text(service: ApplicationService, room: Room, event: StoredEvent, now: number): Promise<string | undefined> {
    try {
      return event.clientJson({ now, strippedState: await this.#strippedState(service, room, event) }, true);
    } catch (err) {
      this.#options.logger.error('an event could not be serialised for an application service and is skipped', {
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
