import type { Eventually } from '#src/kernel/concurrency/steps.ts';
import type { Filter } from '#src/protocol/filters/filter.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { TokenReader } from '#src/services/accounts/admission/admission.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import type { SyncRequest, SyncResult } from '#src/services/sync/engine/sync-request.ts';

export type Presence = 'online' | 'offline' | 'unavailable';

/** A user whose news are awaited. */
export interface WatchedUser {
  /** Changes whenever something happened that the user might be shown. */
  readonly version: number;
  /** @returns stops waiting */
  addWaiter(waiter: () => void): () => void;
}

/** The user and device that send or read. */
export interface ActingDevice {
  readonly userId: string;
  readonly deviceId: string | undefined;
}

/**
 * Events that clients make: the use cases behind PUT /send, /state and /redact. All answer with the id of the event. The scope of the
 * transaction id is theirs to say: so it is the same one for HTTP.
 */
export interface SendingPort {
  message(sender: ActingDevice, request: SendingRequest, txnId: string): Promise<string>;
  state(sender: ActingDevice, request: SendingRequest, stateKey: string): Promise<string>;
  redact(sender: ActingDevice, roomId: string, eventId: string, content: JsonObject, txnId: string): Promise<string>;
  /** What was sent under a transaction id. */
  sent(sender: ActingDevice, request: Omit<SendingRequest, 'content'>, txnId: string): Promise<string | undefined>;
  redacted(sender: ActingDevice, roomId: string, eventId: string, txnId: string): Promise<string | undefined>;
}

export interface SendingRequest {
  readonly roomId: string;
  readonly type: string;
  readonly content: JsonObject;
}

export interface JoinPort {
  /** @returns the room's id */
  join(
    requester: Requester,
    request: {
      readonly roomIdOrAlias: string;
      readonly servers?: readonly string[] | undefined;
      readonly reason?: string | undefined;
      readonly thirdPartySigned?: JsonObject | undefined;
    },
  ): Promise<string>;
}

export interface MembershipPort {
  leave(userId: string, roomId: string, reason?: string): Promise<void>;
  invite(
    sender: Requester,
    roomId: string,
    request: { readonly target: string; readonly reason?: string | undefined },
  ): Promise<void>;
}

/** A page of a room's history; events are JSON texts. */
export interface HistoryPage {
  readonly start: string;
  readonly end: string | undefined;
  readonly chunk: readonly string[];
  readonly state: readonly string[] | undefined;
}

export interface HistoryPort {
  messages(
    roomId: string,
    reader: ActingDevice,
    query: {
      readonly dir: 'b' | 'f';
      readonly from?: string | undefined;
      readonly to?: string | undefined;
      readonly limit?: number | undefined;
      /** A RoomEventFilter as JSON. */
      readonly filter?: unknown;
    },
  ): Promise<HistoryPage>;
}

/** What the WebSocket API asks of the rest of the server. */
export interface WebSocketServices {
  readonly sessions: TokenReader;
  /** Sessions that end, and accounts that are locked or suspended. */
  readonly accountStream: AccountStream;
  readonly sync: { answer(request: SyncRequest): Eventually<SyncResult> };
  readonly users: { open(userId: string): Promise<WatchedUser> };
  readonly filters: { filterFor(userId: string, filter: string | undefined): Promise<Filter> };
  readonly presence: {
    /** Tells that a device of a user is there. */
    seen(userId: string, presence: Presence, deviceId: string | undefined): void;
    /** PUT /presence/{userId}/status; null takes the status message away. */
    set(userId: string, presence: Presence, statusMsg: string | null | undefined): void | Promise<void>;
  };
  readonly typing: { set(userId: string, roomId: string, typing: boolean, timeoutMs?: number): Promise<void> };
  readonly readMarkers: {
    send(userId: string, roomId: string, kind: string, eventId: string, thread: unknown): Promise<void>;
    sendAll(
      userId: string,
      roomId: string,
      markers: {
        readonly fullyRead: string | undefined;
        readonly read: string | undefined;
        readonly readPrivate: string | undefined;
      },
    ): Promise<void>;
  };
  readonly sending: SendingPort;
  readonly joins: JoinPort;
  readonly membership: MembershipPort;
  readonly history: HistoryPort;
}
