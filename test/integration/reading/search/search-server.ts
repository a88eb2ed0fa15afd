import type { Slice } from '#src/app/ground/slice.ts';
import { composeSearch, type Search } from '#src/app/slices/search.ts';
import { searchEndpoints } from '#src/http/client-server/search.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import { ClientEvents } from '#src/services/reading/client-events/client-events.ts';
import { TestServer } from '#test/http/serve.ts';
import { type Answer, type Json, RoomServer, SERVER } from '#test/support/room-server.ts';

const PATH = '/_matrix/client/v3/search';

/** A server of rooms, with search beside it. */
export class SearchServer {
  readonly rooms: RoomServer;
  #accountData!: AccountDataService;
  #search: Slice<Search>;
  #http = new TestServer({}, true);

  private constructor(rooms: RoomServer) {
    this.rooms = rooms;
    this.#search = this.#compose();
  }

  #compose(): Slice<Search> {
    const { services } = this.rooms;
    const platform = { database: services.database, logger: silentLogger, timers: systemTimers };
    const clientEvents = new ClientEvents(services.events.clock);
    this.#accountData = new AccountDataService({ ...services, served: [] });
    const ignoredUsers = new IgnoredUsers(this.#accountData);
    return composeSearch({ ...services, ...platform, clientEvents, ignoredUsers } as never);
  }

  static async start(rooms?: RoomServer): Promise<SearchServer> {
    const server = new SearchServer(rooms ?? (await RoomServer.start()));
    await server.begin();
    return server;
  }

  async begin(): Promise<void> {
    await this.#search.start?.();
    await this.#http.start(searchEndpoints, this.#search.services, {
      authenticate: async (token) => {
        const [name = '', deviceId = 'DEVICE'] = token.split('/');
        return { userId: `@${name}:${SERVER}`, deviceId, isGuest: false, isAdmin: false, rateLimited: false };
      },
    });
  }

  /** The search of a process that is killed takes nothing in any more. */
  async kill(): Promise<void> {
    await this.#http.stop();
  }

  async restart(): Promise<void> {
    await this.#http.stop();
    await this.#search.close?.();
    await this.rooms.restart();
    this.#search = this.#compose();
    this.#http = new TestServer({}, true);
    await this.begin();
  }

  async stop(): Promise<void> {
    await this.#http.stop();
    await this.#search.close?.();
    await this.rooms.stop();
  }

  get index(): Search['searchIndex'] {
    return this.#search.services.searchIndex;
  }

  /** Makes somebody ignore others from now on. */
  ignore(name: string, others: readonly string[]): Promise<void> {
    const ignored = Object.fromEntries(others.map((other) => [`@${other}:${SERVER}`, {}]));
    return this.#accountData.set(`@${name}:${SERVER}`, 0, 'm.ignored_user_list', { ignored_users: ignored });
  }

  async idle(): Promise<void> {
    await this.#search.idle?.();
  }

  async ask(token: string, roomEvents: object, nextBatch?: string): Promise<Answer> {
    const url = nextBatch === undefined ? PATH : `${PATH}?next_batch=${encodeURIComponent(nextBatch)}`;
    const body = { search_categories: { room_events: roomEvents } };
    const answer = await this.#http.ask('POST', url, { token, body });
    if (answer.status === 500) {
      const { fields } = await this.#http.line(({ level }) => level === 'error');
      throw new Error('the search failed', { cause: fields['err'] });
    }
    return { status: answer.status, body: answer.json };
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
