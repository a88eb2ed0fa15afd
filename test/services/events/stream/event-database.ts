import pg from 'pg';
import type { Room } from '#src/services/room-model/room/room.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { eventServices, type EventServices } from '#test/support/event-services.ts';

/** A database with the services that make and store events on it, and a connection of the test's own. */
export class EventDatabase {
  readonly clone: TestDatabase;
  readonly admin: pg.Client;
  services: EventServices;

  private constructor(clone: TestDatabase, admin: pg.Client, services: EventServices) {
    this.clone = clone;
    this.admin = admin;
    this.services = services;
  }

  static async open(): Promise<EventDatabase> {
    const clone = await cloneDatabase();
    const admin = new pg.Client({ connectionString: clone.url });
    await admin.connect();
    return new EventDatabase(clone, admin, await eventServices(clone.database));
  }

  async drop(): Promise<void> {
    await this.admin.end();
    await this.clone.drop();
  }

  /** Begins a new process: it owns the database from now on. */
  async restart(): Promise<void> {
    this.services = await eventServices(this.clone.database);
  }

  /** What a process that starts now makes of a room. */
  async reloaded(room: Room): Promise<Room> {
    await this.restart();
    const again = await this.services.rooms.byId(room.roomId);
    if (again === undefined || again === room) throw new Error('the room is gone');
    return again;
  }

  async rows<Row extends object>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.admin.query<Row>(text, values)).rows;
  }
}
