import type { SearchIndex } from '#src/services/reading/search/search-index.ts';
import { type Answer, InProcessServer, type Json } from '#test/support/in-process-server.ts';

/** A server, and people who search on it. */
export class SearchServer {
  readonly rooms: InProcessServer;

  private constructor(rooms: InProcessServer) {
    this.rooms = rooms;
  }

  static async start(rooms?: InProcessServer): Promise<SearchServer> {
    return new SearchServer(rooms ?? (await InProcessServer.start()));
  }

  restart(): Promise<void> {
    return this.rooms.restart();
  }

  stop(): Promise<void> {
    return this.rooms.stop();
  }

  get index(): SearchIndex {
    return this.rooms.services.searchIndex;
  }

  /** Makes somebody ignore others from now on. */
  async ignore(name: string, others: readonly string[]): Promise<void> {
    const { userId } = await this.rooms.session(name);
    const ignored = Object.fromEntries(others.map((other) => [`@${other}:test`, {}]));
    await this.rooms.must(name, 'PUT', `/user/${userId}/account_data/m.ignored_user_list`, { ignored_users: ignored });
  }

  idle(): Promise<void> {
    return this.rooms.idle();
  }

  ask(token: string, roomEvents: object, nextBatch?: string): Promise<Answer> {
    const path = nextBatch === undefined ? '/search' : `/search?next_batch=${encodeURIComponent(nextBatch)}`;
    return this.rooms.ask(token, 'POST', path, { search_categories: { room_events: roomEvents } });
  }

  /** The `room_events` of an answer, when everything sent before can be found. */
  async find(token: string, term: string, more: object = {}, nextBatch?: string): Promise<Json> {
    await this.idle();
    const { status, body } = await this.ask(token, { search_term: term, order_by: 'recent', ...more }, nextBatch);
    if (status !== 200) throw new Error(`search: ${status} ${JSON.stringify(body)}`);
    return body.search_categories.room_events;
  }

  /** The texts that are found. */
  async texts(token: string, term: string, more: object = {}): Promise<string[]> {
    const { results } = await this.find(token, term, more);
    return results.map(({ result: { content } }: Json) => content.body ?? content.name ?? content.topic);
  }
}
