import type { NamespacePattern } from './namespace-pattern.ts';

/** Values that an application service is interested in; where it is exclusive, only that service makes or deletes them. */
export interface Namespace {
  readonly exclusive: boolean;
  readonly pattern: NamespacePattern;
}

/** An application service, as it is registered. Application Service API, "Registration". */
export interface ApplicationService {
  readonly id: string;
  /** The base URL of its API, without a slash at the end; null: nothing is sent to it. */
  readonly url: string | null;
  /** SHA-256 of its `as_token`, in base64url: the token itself is not stored. */
  readonly asTokenHash: string;
  /** The token by which it authenticates this server. */
  readonly hsToken: string;
  /** User id of `sender_localpart`. */
  readonly sender: string;
  /** Whether the requests of its users are limited; those of the sender never are. */
  readonly rateLimited: boolean;
  readonly namespaces: {
    /** Local users alone. */
    readonly users: readonly Namespace[];
    readonly aliases: readonly Namespace[];
    readonly rooms: readonly Namespace[];
  };
  /** Networks that it knows, by the names that clients use. */
  readonly protocols: readonly string[];
  /** `receive_ephemeral` */
  readonly receiveEphemeral: boolean;
  /** Whether it is sent messages to devices, changes of devices and counts of keys (MSC2409, MSC3202). */
  readonly wantsDeviceData: boolean;
  /** Whether it makes devices without logging in (MSC4190); any may, this says that it does. */
  readonly managesDevices: boolean;
  /** Where it is registered: the file, or `database`. */
  readonly source: string;
  /** The registration as it was written, in the specification's spelling, without its tokens. */
  readonly shown: Readonly<Record<string, unknown>>;
}

/** Whether a value is in one of the namespaces. */
export const isIn = (namespaces: readonly Namespace[], value: string): boolean =>
  namespaces.some(({ pattern }) => pattern.matches(value));

/** Whether a value is in one of those that are exclusive. */
export const isExclusiveIn = (namespaces: readonly Namespace[], value: string): boolean =>
  namespaces.some(({ exclusive, pattern }) => exclusive && pattern.matches(value));
