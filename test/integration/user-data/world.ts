import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { ServerServices } from '#src/app/composition.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { InProcessServer, type InProcessServerOptions } from '#test/support/in-process-server.ts';

const OPTIONS: InProcessServerOptions = {
  config: {
    quotas: {
      filters: { pieces: 5, bytes: 100_000 },
      pushRules: { pieces: 50, bytes: 100_000 },
      accountData: { pieces: 300, bytes: 1_000_000 },
      tagsPerRoom: 10,
      threadReceipts: 5,
    },
  },
};

/** The server, used through its services: rooms whose events say exactly what a test wants. */
export class World {
  readonly app: InProcessServer;

  private constructor(app: InProcessServer) {
    this.app = app;
  }

  /** On an empty database, with a few users. */
  static async begin(): Promise<World> {
    const world = new World(await InProcessServer.start(OPTIONS));
    await world.app.account('alice', 'bob', 'carol', 'admin');
    return world;
  }

  get services(): ServerServices {
    return this.app.services;
  }

  /** The same database with nothing in memory. */
  async restart(): Promise<World> {
    await this.app.restart();
    return this;
  }

  /** Another process that finds what this one has written. It is over when `work` is, and this one writes again. */
  async beside(work: (other: World) => Promise<void>): Promise<void> {
    const other = new World(await this.app.beside());
    await other.app.idle();
    try {
      await work(other);
    } finally {
      await other.end();
      await this.services.writer.start();
    }
  }

  end(): Promise<void> {
    return this.app.stop();
  }

  /** A room with these members, all joined. */
  async room(
    creator: string,
    others: readonly string[] = [],
    more: readonly EventDraft[] = [],
    create: JsonObject = {},
  ): Promise<Room> {
    const version = roomVersion('11');
    if (version === undefined) throw new Error('room version 11 is missing');
    const state = (type: string, content: JsonObject): EventDraft => ({ type, sender: creator, stateKey: '', content });
    const room = await this.services.events.createRoom({
      version,
      creator,
      createContent: { ...create, room_version: '11' },
      isPublic: false,
      events: () => [
        { type: 'm.room.member', sender: creator, stateKey: creator, content: { membership: 'join' } },
        state('m.room.power_levels', { users: { [creator]: 100 } }),
        state('m.room.join_rules', { join_rule: 'public' }),
        ...more,
      ],
    });
    for (const userId of others) await this.join(room, userId);
    return room;
  }

  join(room: Room, userId: string, content: JsonObject = {}): Promise<StoredEvent> {
    return this.member(room, userId, userId, 'join', content);
  }

  member(
    room: Room,
    sender: string,
    userId: string,
    membership: string,
    content: JsonObject = {},
  ): Promise<StoredEvent> {
    return this.services.events.send(room, {
      type: 'm.room.member',
      sender,
      stateKey: userId,
      content: { ...content, membership },
    });
  }

  say(room: Room, sender: string, body: string, content: JsonObject = {}): Promise<StoredEvent> {
    return this.services.events.send(room, {
      type: 'm.room.message',
      sender,
      content: { msgtype: 'm.text', body, ...content },
    });
  }

  reply(room: Room, sender: string, root: string, body = 'reply', content: JsonObject = {}): Promise<StoredEvent> {
    return this.say(room, sender, body, { ...content, 'm.relates_to': { rel_type: 'm.thread', event_id: root } });
  }

  /** How many statements `work` sent. */
  statements(work: () => Promise<unknown>): Promise<number> {
    return this.app.statements(work);
  }
}
