import {
  ClientEvent,
  createClient,
  EventTimeline,
  HttpApiEvent,
  type ICreateClientOpts,
  type IStartClientOpts,
  type ISyncResponse,
  type MatrixClient,
  type MatrixError,
  MemoryStore,
  type Room,
  SyncAccumulator,
  SyncState,
} from 'matrix-js-sdk';
import { type Logger, logger as sdkLogger } from 'matrix-js-sdk/lib/logger.js';
import type { ISavedSync } from 'matrix-js-sdk/lib/store/index.js';
import { must, recordedFetch } from './http.ts';

export const PASSWORD = 'correct horse battery staple';

const quiet = (): void => undefined;
/** Of the SDK: tests say themselves what they expect. */
export const silent: Logger = {
  trace: quiet,
  debug: quiet,
  info: quiet,
  warn: quiet,
  error: quiet,
  getChild: () => silent,
};
// Parts of the SDK do not ask the client for its logger.
Object.assign(sdkLogger, silent, { log: quiet });

/** Milliseconds in which what was sent has to have arrived. */
const PATIENCE_MS = 45_000;

type Listener = () => void;

/** What the SDK keeps in IndexedDB in a browser: the accumulated sync, so that a client that starts again resumes. */
class KeepingStore extends MemoryStore {
  readonly #accumulator = new SyncAccumulator();
  #token: string | null = null;

  override async isNewlyCreated(): Promise<boolean> {
    return this.#token === null;
  }

  override async setSyncData(data: ISyncResponse): Promise<void> {
    this.#accumulator.accumulate(data);
    this.#token = data.next_batch;
  }

  override async getSavedSync(): Promise<ISavedSync | null> {
    return this.#token === null ? null : this.#accumulator.getJSON(true);
  }

  override async getSavedSyncToken(): Promise<string | null> {
    return this.#token;
  }

  /** What a process that starts again finds: nothing but what was saved. */
  reopened(): KeepingStore {
    const store = new KeepingStore();
    store.#token = this.#token;
    if (this.#token !== null) {
      const saved = this.#accumulator.getJSON(true);
      store.#accumulator.accumulate(
        { next_batch: saved.nextBatch, rooms: saved.roomsData, account_data: { events: saved.accountData } },
        true,
      );
    }
    return store;
  }
}

/** What a login or registration answers. */
interface Login {
  readonly user_id: string;
  readonly access_token: string;
  readonly device_id: string;
  readonly refresh_token?: string;
  readonly expires_in_ms?: number;
}

/** One answered request for /sync. */
export interface Sync {
  readonly since: string | null;
  // Raw, as it came: a test says itself what it expects.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

/** A matrix-js-sdk client as an application has it, with what came over its wire. */
export class SdkClient {
  readonly client: MatrixClient;
  readonly login: Login;
  readonly userId: string;
  /** Every answer to /sync, in order. */
  readonly syncs: Sync[] = [];
  /** The sync states it went through. */
  readonly states: SyncState[] = [];
  /** Why the SDK found out that it is logged out, as often as it did. */
  readonly loggedOut: MatrixError[] = [];
  readonly #baseUrl: string;
  readonly #store: KeepingStore;
  readonly #waiting = new Set<Listener>();
  readonly #requests = new Set<AbortController>();

  private constructor(baseUrl: string, login: Login, store: KeepingStore, options: Partial<ICreateClientOpts>) {
    this.#baseUrl = baseUrl;
    this.login = login;
    this.userId = login.user_id;
    this.#store = store;
    this.client = createClient({
      baseUrl,
      accessToken: login.access_token,
      userId: login.user_id,
      deviceId: login.device_id,
      store,
      logger: silent,
      useAuthorizationHeader: true,
      timelineSupport: true,
      fetchFn: (input, init) => this.#fetch(input, init),
      ...options,
    });
    this.client.setMaxListeners(100);
    this.client.on(ClientEvent.Sync, (state) => {
      this.states.push(state);
      this.#wake();
    });
    this.client.on(HttpApiEvent.SessionLoggedOut, (error) => {
      this.loggedOut.push(error);
      this.#wake();
    });
  }

  /** Registers somebody by the API; `more` are further members of the request. */
  static async register(
    baseUrl: string,
    username: string,
    options: Partial<ICreateClientOpts> = {},
    more: object = {},
  ): Promise<SdkClient> {
    const wish = { username, password: PASSWORD, auth: { type: 'm.login.dummy' }, ...more };
    return new SdkClient(
      baseUrl,
      await must(baseUrl, 'POST', '/register', { body: wish }),
      new KeepingStore(),
      options,
    );
  }

  /** Logs in: another device of somebody who is registered. */
  static async logIn(baseUrl: string, username: string, options: Partial<ICreateClientOpts> = {}): Promise<SdkClient> {
    const wish = { type: 'm.login.password', identifier: { type: 'm.id.user', user: username }, password: PASSWORD };
    return new SdkClient(baseUrl, await must(baseUrl, 'POST', '/login', { body: wish }), new KeepingStore(), options);
  }

  /** A client of a session that was made otherwise. */
  static of(baseUrl: string, login: Login, options: Partial<ICreateClientOpts> = {}): SdkClient {
    return new SdkClient(baseUrl, login, new KeepingStore(), options);
  }

  /**
   * The same session in an application that was started again: it knows what it saved, nothing more. Not started yet.
   *
   * @param login what it got in place of its tokens in the meantime
   */
  reopened(login: Partial<Login> = {}): SdkClient {
    return new SdkClient(this.#baseUrl, { ...this.login, ...login }, this.#store.reopened(), {});
  }

  /** Starts to sync, and waits until the client is ready to be used. */
  async start(options: IStartClientOpts = {}): Promise<this> {
    await this.client.startClient({ lazyLoadMembers: true, initialSyncLimit: 20, threadSupport: true, ...options });
    await this.until('it is synced', () => this.client.getSyncState() === SyncState.Syncing);
    return this;
  }

  /** Stops it: no request and no timer of it is left. */
  stop(): void {
    this.client.stopClient();
    for (const request of this.#requests) request.abort();
    this.#requests.clear();
  }

  /** What an application does when the network is back: it does not wait for the SDK's next attempt, which takes seconds. */
  async reconnect(): Promise<void> {
    const { length } = this.syncs;
    await this.until('it is connected again', () => {
      if (this.syncs.length > length) return true;
      this.client.retryImmediately();
      return false;
    });
  }

  /** Waits until something is so; looked at whenever the client got an answer to /sync or said something. */
  async until<T>(what: string, look: () => T | undefined | null | false, patienceMs = PATIENCE_MS): Promise<T> {
    const deadline = Date.now() + patienceMs;
    for (;;) {
      const seen = look();
      if (seen !== undefined && seen !== null && seen !== false) return seen;
      const left = deadline - Date.now();
      if (left <= 0)
        throw new Error(`${this.userId} waited ${patienceMs} ms in vain: ${what}. States: ${this.states.join(' ')}`);
      await this.#news(Math.min(left, 50));
    }
  }

  /** The room, once it is there. */
  room(roomId: string): Promise<Room> {
    return this.until(`room ${roomId}`, () => this.client.getRoom(roomId));
  }

  /** Waits until an event is shown in a room. */
  async sees(roomId: string, eventId: string): Promise<void> {
    await this.until(`event ${eventId}`, () => this.client.getRoom(roomId)?.findEventById(eventId));
  }

  /** The texts of a room's timeline as an application shows them: edits applied, redacted ones missing. */
  texts(roomId: string): string[] {
    const events = this.client.getRoom(roomId)?.getLiveTimeline().getEvents() ?? [];
    return events
      .filter(
        (event) =>
          event.getType() === 'm.room.message' && !event.isRedacted() && event.getRelation()?.rel_type !== 'm.replace',
      )
      .map((event) => String(event.getContent()['body']));
  }

  membership(roomId: string, userId = this.userId): string | undefined {
    const room = this.client.getRoom(roomId);
    if (userId === this.userId) return room?.getMyMembership();
    return room?.getLiveTimeline().getState(EventTimeline.FORWARDS)?.getMember(userId)?.membership;
  }

  /** The ids of the events that /sync showed in a room's timelines, in order, as often as they came. */
  received(roomId: string): string[] {
    return this.syncs.flatMap(({ body }) =>
      ['join', 'leave'].flatMap((section) => {
        // oxlint-disable-next-line typescript/no-explicit-any
        const events: any[] = body.rooms?.[section]?.[roomId]?.timeline?.events ?? [];
        return events.map((event) => String(event.event_id));
      }),
    );
  }

  #wake(): void {
    for (const listener of this.#waiting) listener();
  }

  #news(patienceMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, patienceMs);
      this.#waiting.add(done);
    });
  }

  async #fetch(input: Parameters<typeof fetch>[0], init?: RequestInit): Promise<Response> {
    const stop = new AbortController();
    this.#requests.add(stop);
    try {
      const signal =
        init?.signal === undefined || init.signal === null ? stop.signal : AbortSignal.any([init.signal, stop.signal]);
      const response = await recordedFetch(input, { ...init, signal });
      const url = new URL(response.url);
      if (url.pathname === '/_matrix/client/v3/sync' && response.status === 200) {
        this.syncs.push({ since: url.searchParams.get('since'), body: await response.clone().json() });
        // The SDK works through the answer first.
        setTimeout(() => this.#wake(), 0);
      }
      return response;
    } finally {
      this.#requests.delete(stop);
    }
  }
}
