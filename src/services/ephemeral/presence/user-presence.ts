export type PresenceState = 'online' | 'unavailable' | 'offline';

/** Content of `m.presence`, and the answer to those who ask. Client-Server API, "Presence". */
export interface PresenceContent {
  readonly presence: PresenceState;
  readonly status_msg?: string;
  /** Milliseconds since the user last did something. */
  readonly last_active_ago?: number;
  readonly currently_active?: boolean;
}

/** "The server will automatically set a user's presence to unavailable if their last active time was over a threshold value (e.g. 5 minutes)." */
const IDLE_MS = 5 * 60_000;
/** Without a sync for this long, no client is there: somewhat longer than clients usually let a sync wait. */
const GONE_MS = 75_000;
/** For how long something that a user did makes them currently active. */
const ACTIVE_MS = 60_000;

interface Said {
  readonly state: PresenceState;
  /** Until when it holds, milliseconds since the epoch. */
  readonly until: number;
}

/** One user's presence: what their devices say together, or what they said themselves since. */
export class UserPresence {
  readonly userId: string;
  /** Ephemeral count of the last change that others see. */
  at = 0;
  #state: PresenceState = 'offline';
  #statusMsg: string | undefined;
  #isActive = false;
  #lastActive: number | undefined;
  readonly #devices = new Map<string, Said>();
  #own: Said | undefined;

  constructor(userId: string, statusMsg: string | undefined, lastActive: number | undefined) {
    this.userId = userId;
    this.#statusMsg = statusMsg;
    this.#lastActive = lastActive;
  }

  get state(): PresenceState {
    return this.#state;
  }
  get statusMsg(): string | undefined {
    return this.#statusMsg;
  }
  get lastActive(): number | undefined {
    return this.#lastActive;
  }

  /** All that others are told without asking: as long as it stays the same, nothing has to be sent. */
  get visible(): string {
    return `${this.#state} ${this.#isActive} ${this.#statusMsg ?? ''}`;
  }

  content(now: number): PresenceContent {
    return {
      presence: this.#state,
      ...(this.#statusMsg === undefined ? {} : { status_msg: this.#statusMsg }),
      ...(this.#lastActive === undefined ? {} : { last_active_ago: Math.max(0, now - this.#lastActive) }),
      ...(this.#state === 'online' ? { currently_active: this.#isActive } : {}),
    };
  }

  /** A device syncs. */
  seen(presence: 'online' | 'unavailable', device: string, now: number): void {
    this.#own = undefined;
    this.#devices.set(device, { state: presence, until: now + GONE_MS });
    if (presence === 'online') this.#lastActive = now;
    this.timePasses(now);
  }

  /** The user says how they are, for all devices; null takes the status message away. */
  set(presence: PresenceState, statusMsg: string | null | undefined, now: number): void {
    if (statusMsg !== undefined) this.#statusMsg = statusMsg === null || statusMsg === '' ? undefined : statusMsg;
    this.#devices.clear();
    // Whoever says so without syncing is believed until they count as idle.
    this.#own = { state: presence, until: now + IDLE_MS + GONE_MS };
    this.#lastActive = now;
    this.timePasses(now);
  }

  /** Works out what holds now. */
  timePasses(now: number): void {
    for (const [device, { until }] of this.#devices) if (until <= now) this.#devices.delete(device);
    if (this.#own !== undefined && this.#own.until <= now) this.#own = undefined;
    const said = this.#own === undefined ? [...this.#devices.values()] : [this.#own];
    const idle = now - (this.#lastActive ?? 0);
    if (said.some(({ state }) => state === 'online')) this.#state = idle < IDLE_MS ? 'online' : 'unavailable';
    else this.#state = said.some(({ state }) => state === 'unavailable') ? 'unavailable' : 'offline';
    this.#isActive = this.#state === 'online' && idle < ACTIVE_MS;
  }
}
