import { bytesOfText } from '#src/kernel/text/text-bytes.ts';

export type PresenceState = 'online' | 'unavailable' | 'offline';

/** Content of `m.presence`, and of the answer to `GET /presence/{userId}/status`. Client-Server API, "Presence". */
export interface PresenceContent {
  readonly presence: PresenceState;
  readonly status_msg?: string;
  /** Milliseconds since the user last did something. */
  readonly last_active_ago?: number;
  readonly currently_active?: boolean;
}

/** Milliseconds without a sync after which a device is offline: somewhat longer than usual sync timeouts. */
const GONE_MS = 75_000;
/** How long after the end of a sync the next one may begin. */
const PAUSE_MS = 45_000;
/** For how long something that a user did makes them currently active. */
const ACTIVE_MS = 60_000;
/** Milliseconds within which the result is reused. */
const SAME_MS = 10_000;

/** For how long a remote user's presence holds: their server sends it again after 25 minutes. */
const BELIEVED_MS = 30 * 60_000;

/** Memory of a user, and of one of their devices, beside the texts, in bytes. */
const USER_BYTES = 600;
const DEVICE_BYTES = 200;

interface Said {
  readonly state: PresenceState;
  /** Until when it holds, milliseconds since the epoch. */
  readonly until: number;
}

/** One user's presence: of all their devices together, or as the user set it since. */
export class UserPresence {
  readonly userId: string;
  /** Ephemeral count of the last change that others see. */
  at = 0;
  readonly #idleMs: number;
  #state: PresenceState = 'offline';
  #statusMsg: string | undefined;
  /** Memory of the user id and of the status message, in bytes. */
  #textBytes = 0;
  #isActive = false;
  #lastActive: number | undefined;
  /** What each syncing device sets; `offline`: it does not count. */
  readonly #devices = new Map<string, Said>();
  #own: Said | undefined;
  /** What the user's server says, for a remote user. */
  #received: (Said & { readonly isActive: boolean }) | undefined;

  /** @param idleMs how long without doing anything makes a user `unavailable` */
  constructor(userId: string, statusMsg: string | undefined, lastActive: number | undefined, idleMs: number) {
    this.userId = userId;
    this.#setStatus(statusMsg);
    this.#lastActive = lastActive;
    this.#idleMs = idleMs;
  }

  get state(): PresenceState {
    return this.#state;
  }
  get statusMsg(): string | undefined {
    return this.#statusMsg;
  }
  /** Whether the presence comes from another server. */
  get hasReceived(): boolean {
    return this.#received !== undefined;
  }
  get lastActive(): number | undefined {
    return this.#lastActive;
  }

  /** Everything that is sent to others: as long as it stays the same, nothing has to be sent. */
  get visible(): string {
    return `${this.#state} ${this.#isActive} ${this.#statusMsg ?? ''}`;
  }

  /** About how many bytes this takes. */
  get weight(): number {
    let bytes = USER_BYTES + this.#textBytes;
    for (const device of this.#devices.keys()) bytes += DEVICE_BYTES + device.length;
    return bytes;
  }

  content(now: number): PresenceContent {
    return {
      presence: this.#state,
      ...(this.#statusMsg === undefined ? {} : { status_msg: this.#statusMsg }),
      ...(this.#lastActive === undefined ? {} : { last_active_ago: Math.max(0, now - this.#lastActive) }),
      ...(this.#state === 'online' ? { currently_active: this.#isActive } : {}),
    };
  }

  /**
   * A device syncs. That keeps it online, and is no action of the user, unless the device is new or becomes `online` again.
   *
   * @param waitMs how long the sync may take
   */
  seen(presence: PresenceState, device: string, now: number, waitMs = 0): void {
    const before = this.#said(device, now);
    this.#devices.set(device, { state: presence, until: now + Math.max(GONE_MS, waitMs + PAUSE_MS) });
    if (presence !== 'offline') this.#own = undefined;
    if (presence === 'online' && before !== 'online') this.#lastActive = now;
    this.timePasses(now);
  }

  /**
   * The user did something. "Any activity that bumps the last active time on any of the user's clients will cause the server to
   * automatically set their presence to online", unless it is from where they do not want to be counted.
   */
  acted(device: string | undefined, now: number): void {
    if (this.#isHidden(device, now)) return;
    this.#lastActive = now;
    this.timePasses(now);
    const isThere = (said: Said | undefined): Said => ({
      state: 'online',
      until: Math.max(said?.until ?? 0, now + GONE_MS),
    });
    if (this.#own !== undefined) this.#own = isThere(this.#own);
    else {
      // On whichever device it was: those that are there say so.
      const away = [...this.#devices].filter(([, { state }]) => state === 'unavailable').map(([name]) => name);
      const acting = device !== undefined ? [device] : this.#state === 'offline' ? [''] : away;
      for (const name of acting) this.#devices.set(name, isThere(this.#devices.get(name)));
    }
    this.timePasses(now);
  }

  /** Whether others would see nothing new if the user did something now; then that they did is noted already. */
  isActiveAt(now: number): boolean {
    const isSame = this.#isActive && now - (this.#lastActive ?? 0) < SAME_MS;
    if (isSame) this.#lastActive = now;
    return isSame;
  }

  /** The user sets their presence, for all devices; null deletes the status message. */
  set(presence: PresenceState, statusMsg: string | null | undefined, now: number): void {
    if (statusMsg !== undefined) this.#setStatus(statusMsg === null || statusMsg === '' ? undefined : statusMsg);
    this.#devices.clear();
    // Presence set without a sync holds until the user counts as idle.
    this.#own = { state: presence, until: now + this.#idleMs + GONE_MS };
    this.#lastActive = now;
    this.timePasses(now);
  }

  /** Another server sends its user's presence, which holds until it has not been repeated for long. */
  received({ presence, status_msg, last_active_ago, currently_active }: PresenceContent, now: number): void {
    if (status_msg !== this.#statusMsg) this.#setStatus(status_msg);
    if (last_active_ago !== undefined) this.#lastActive = Math.max(0, now - last_active_ago);
    this.#received = { state: presence, until: now + BELIEVED_MS, isActive: currently_active === true };
    this.timePasses(now);
  }

  /** Applies the time that has passed. */
  timePasses(now: number): void {
    if (this.#received !== undefined) {
      const { isActive, state, until } = this.#received;
      this.#state = until <= now ? 'offline' : state;
      this.#isActive = this.#state === 'online' && isActive;
      return;
    }
    for (const [device, { until }] of this.#devices) if (until <= now) this.#devices.delete(device);
    if (this.#own !== undefined && this.#own.until <= now) this.#own = undefined;
    const said = this.#own === undefined ? [...this.#devices.values()] : [this.#own];
    const idle = now - (this.#lastActive ?? 0);
    if (said.some(({ state }) => state === 'online')) this.#state = idle < this.#idleMs ? 'online' : 'unavailable';
    else this.#state = said.some(({ state }) => state === 'unavailable') ? 'unavailable' : 'offline';
    this.#isActive = this.#state === 'online' && idle < ACTIVE_MS;
  }

  #setStatus(statusMsg: string | undefined): void {
    this.#statusMsg = statusMsg;
    this.#textBytes = bytesOfText(this.userId) + bytesOfText(statusMsg ?? '');
  }

  #said(device: string, now: number): PresenceState | undefined {
    const said = this.#devices.get(device);
    return said === undefined || said.until <= now ? undefined : said.state;
  }

  #isHidden(device: string | undefined, now: number): boolean {
    if (this.#own !== undefined && this.#own.until > now) return this.#own.state === 'offline';
    if (device !== undefined) return this.#said(device, now) === 'offline';
    const said = [...this.#devices.values()].filter(({ until }) => until > now);
    return said.length > 0 && said.every(({ state }) => state === 'offline');
  }
}
