import { createHmac } from 'node:crypto';
import type { Clock } from '#src/kernel/clock.ts';

export interface TurnOptions {
  readonly uris: readonly string[];
  /** Shared with the TURN server (`static-auth-secret` of coturn). */
  readonly sharedSecret?: string | null;
  /** Where the TURN server has one fixed user instead. */
  readonly username?: string | null;
  readonly password?: string | null;
  /** Milliseconds for which credentials are good. */
  readonly lifetimeMs: number;
}

export interface TurnServer {
  readonly username: string;
  readonly password: string;
  readonly uris: readonly string[];
  /** Seconds. */
  readonly ttl: number;
}

/** Credentials for the TURN servers of this server's operator. Client-Server API, "Voice over IP". */
export class TurnCredentials {
  readonly #options: TurnOptions;
  readonly #clock: Clock;

  constructor(options: TurnOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  /**
   * What a user's client may use; undefined when no TURN server is set up.
   *
   * With a shared secret the user name says until when it is good, and the password is its HMAC-SHA1 (draft-uberti-behave-turn-rest-00).
   */
  for(userId: string): TurnServer | undefined {
    const { uris, sharedSecret, username, password, lifetimeMs } = this.#options;
    if (uris.length === 0) return undefined;
    const ttl = Math.floor(lifetimeMs / 1000);
    if (typeof sharedSecret === 'string') {
      const name = `${Math.floor(this.#clock.now() / 1000) + ttl}:${userId}`;
      return { username: name, password: createHmac('sha1', sharedSecret).update(name).digest('base64'), uris, ttl };
    }
    return typeof username === 'string' && typeof password === 'string' ? { username, password, uris, ttl } : undefined;
  }
}
