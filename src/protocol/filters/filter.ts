/** Filters, as clients define them (Client-Server API, "Filtering"), in our own names. */

/** Which events to include. An absent list means "all"; an empty one "none" (`types`, `senders`, `rooms`). */
export interface EventFilter {
  /** Greatest number of events; 0 for none. */
  readonly limit?: number;
  /** Event types; `*` in them stands for any characters. */
  readonly types?: readonly string[];
  /** Excluded even if `types` lists them. */
  readonly notTypes?: readonly string[];
  readonly senders?: readonly string[];
  readonly notSenders?: readonly string[];
}

export interface RoomEventFilter extends EventFilter {
  readonly rooms?: readonly string[];
  readonly notRooms?: readonly string[];
  /** True: only events with `url` in their content; false: only those without. */
  readonly containsUrl?: boolean;
  /** Only events that have a relation from an event of one of these senders. */
  readonly relatedBySenders?: readonly string[];
  /** Only events that have a relation of one of these types. */
  readonly relatedByRelTypes?: readonly string[];
  /** Only events that relate to another one in one of these ways. MSC3874. */
  readonly relTypes?: readonly string[];
  /** Not those that relate to another one in one of these ways. MSC3874. */
  readonly notRelTypes?: readonly string[];
  readonly lazyLoadMembers: boolean;
  readonly includeRedundantMembers: boolean;
  readonly unreadThreadNotifications: boolean;
}

export interface RoomFilter {
  /** Applied before the filters below. */
  readonly rooms?: readonly string[];
  readonly notRooms?: readonly string[];
  readonly includeLeave: boolean;
  readonly ephemeral: RoomEventFilter;
  readonly state: RoomEventFilter;
  readonly timeline: RoomEventFilter;
  readonly accountData: RoomEventFilter;
}

export interface Filter {
  /** Dot-separated paths; absent: whole events. */
  readonly eventFields?: readonly string[];
  readonly eventFormat: 'client' | 'federation';
  readonly presence: EventFilter;
  readonly accountData: EventFilter;
  readonly room: RoomFilter;
  /** Fields of profiles of which it is told what they are, and when they change; absent: none. MSC4429. */
  readonly profileFields?: readonly string[];
}
