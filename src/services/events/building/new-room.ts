import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { createdRoomId } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import { EventRing } from '#src/services/room-model/room/event-ring.ts';
import { Room } from '#src/services/room-model/room/room.ts';
import { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { Database } from '#src/storage/database.ts';
import { reserveRoomNids } from '#src/storage/room-model/room-rows.ts';
import type { EventWrite } from '#src/storage/events/event-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { EventBuilder } from './event-builder.ts';
import type { EventDraft } from './event-draft.ts';

/** A room to be created. */
export interface NewRoom {
  readonly version: RoomVersion;
  readonly creator: string;
  /** Content of `m.room.create`. */
  readonly createContent: JsonObject;
  readonly isPublic: boolean;
  /** The events after `m.room.create`, once the room id is known. */
  readonly events: (roomId: string) => readonly EventDraft[];
  readonly alias?: string;
  /** From `newRoomId`, where it had to be known before; without effect in versions in which it comes of `m.room.create`. */
  readonly roomId?: string;
  /** Asked once the room id is known, before anything is written. @throws MatrixError when the room must not be made */
  readonly admit?: (roomId: string) => Promise<void>;
}

/** What is written of a new room along with its first events. */
export type NewRoomRows = Pick<EventWrite, 'rooms' | 'aliases'>;

/** A room before its first event is written. */
export interface FoundedRoom {
  readonly room: Room;
  /** Its first events, in order. */
  readonly drafts: readonly EventDraft[];
  readonly rows: NewRoomRows;
}

/** So many numbers of rooms are reserved at once, and the next ones before these are used up. */
const RESERVED_NIDS = 64;
const FEW_NIDS = 32;

export interface RoomFounderOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly builder: EventBuilder;
  readonly serverName: string;
  readonly clock: Clock;
  readonly random: Random;
}

/** Gives rooms their ids and numbers, before their first events are built. */
export class RoomFounder {
  readonly #options: RoomFounderOptions;
  readonly #nids: number[] = [];
  readonly #reserving = new OnceByKey<'more', void>();
  #lastCreation = 0;

  constructor(options: RoomFounderOptions) {
    this.#options = options;
  }

  async found(plan: NewRoom): Promise<FoundedRoom> {
    const { builder, clock, interner } = this.#options;
    const { version, creator } = plan;
    const creation: EventDraft = {
      type: 'm.room.create',
      sender: creator,
      stateKey: '',
      content: plan.createContent,
      originServerTs: this.#creationTime(),
    };
    const nid = await this.#nextNid();
    let roomId = plan.roomId ?? this.newRoomId();
    if (version.roomIdIsCreateHash)
      roomId = createdRoomId(builder.sign(version, creation, undefined, [], [], 1).eventId);
    const roomType = plan.createContent['type'];
    const room = new Room({
      nid,
      roomId,
      version,
      shard: shardOfName(roomId),
      roomType: typeof roomType === 'string' ? roomType : undefined,
      isPublic: plan.isPublic,
      head: { extremities: [], chain: StateChain.EMPTY },
      depth: 0,
      lastPosition: 0,
      state: new Map(),
      members: new Map(),
      ring: new EventRing([], 0),
    });
    const drafts = [creation, ...plan.events(roomId)];
    const names = await interner.ensure({ users: [creator] });
    const createdTs = clock.now();
    const row = {
      nid,
      roomId,
      version: version.id,
      shard: room.shard,
      creator: names.user(creator),
      roomType: room.roomType ?? null,
      isPublic: plan.isPublic,
      createdTs,
    };
    const { alias } = plan;
    const aliases = alias === undefined ? [] : [{ alias, room: nid, creator, createdTs }];
    return { room, drafts, rows: { rooms: [row], aliases } };
  }

  /** An id for a room that is about to be made. */
  newRoomId(): string {
    return `!${this.#options.random.string(18)}:${this.#options.serverName}`;
  }

  /** Where the room id is the hash of `m.room.create`, the same request within the same millisecond would give the same room. */
  #creationTime(): number {
    this.#lastCreation = Math.max(this.#options.clock.now(), this.#lastCreation + 1);
    return this.#lastCreation;
  }

  async #nextNid(): Promise<number> {
    let reserved: Promise<void> | undefined;
    if (this.#nids.length < FEW_NIDS) {
      reserved = this.#reserving.run('more', () => this.#reserve());
      // Who finds one that is left does not wait; who finds none is told.
      reserved.catch(() => undefined);
    }
    const nid = this.#nids.shift();
    if (nid !== undefined) return nid;
    await reserved;
    return this.#nextNid();
  }

  /** Numbers that a killed process had reserved are never used: there are enough. */
  async #reserve(): Promise<void> {
    this.#nids.push(...(await reserveRoomNids(this.#options.database, RESERVED_NIDS)));
  }
}
