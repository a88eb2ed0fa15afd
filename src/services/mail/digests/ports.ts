import type { JsonObject } from '#src/protocol/json/json-value.ts';

/** An unread message, as a digest gets it. */
export interface UnreadMessage {
  readonly roomId: string;
  readonly roomName: string | undefined;
  readonly senderId: string;
  readonly senderName: string | undefined;
  readonly type: string;
  readonly content: JsonObject;
  /** Milliseconds since the epoch. */
  readonly ts: number;
}

/** Lists unread messages of users. */
export interface UnreadSource {
  /** What came after a time, the oldest first, in a bounded number. */
  of(userId: string, since: number): Promise<readonly UnreadMessage[]>;
}

/** Reads and deletes pushers. */
export interface DigestPushers {
  byId(id: number): Promise<DigestPusher | undefined>;
  remove(id: number): Promise<void>;
}

/** A pusher of the kind `email`. */
export interface DigestPusher {
  readonly id: number;
  readonly userId: string;
  readonly kind: string;
  /** The mail address. */
  readonly pushkey: string;
  readonly lang: string;
  readonly enabled: boolean;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
}
