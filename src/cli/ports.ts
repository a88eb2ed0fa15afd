import type { Check } from './finding.ts';
import type { HistoryPurges } from '#src/services/admin/rooms/history-purges.ts';
import type { RoomDeletions } from '#src/services/admin/rooms/room-deletion.ts';
import type { UserAdministration } from '#src/services/admin/users/user-administration.ts';
import type { UserListing } from '#src/services/admin/users/user-listing.ts';

/** What operators do on the database of a server that does not run. */
export interface Administration {
  readonly serverName: string;
  readonly users: Pick<UserAdministration, 'deactivate' | 'lock' | 'resetPassword' | 'setAdmin' | 'suspend'>;
  readonly listing: Pick<UserListing, 'page'>;
  readonly deletions: Pick<RoomDeletions, 'start'>;
  readonly purges: Pick<HistoryPurges, 'start'>;
}

/** The part of the configuration that commands look at. */
export interface CliConfig {
  readonly serverName: string;
  readonly publicBaseUrl: string | null;
  readonly dataDir: string;
  readonly http: { readonly port: number; readonly bind: string };
  readonly database: { readonly url: string | null };
  readonly tls: { readonly certFile: string | null };
  readonly wellKnown: { readonly server: string | null };
  readonly federation: { readonly enabled: boolean };
  readonly registration: { readonly sharedSecret: string | null };
}

/** What commands need from the outside. Given by main.ts, by tests something else. */
export interface CliPorts {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Reads one line from standard input, without showing it where that is a terminal. */
  readonly askSecret: (question: string) => Promise<string>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** `process.version` */
  readonly nodeVersion: string;
  /** @throws with a message for the operator */
  readonly loadConfig: (files: readonly string[]) => CliConfig;
  /** Runs the server to its end and returns the exit code. */
  readonly start: (files: readonly string[]) => Promise<number>;
  /** Connects to the server that takes our mail. Returns what was found; undefined where there is none. @throws with what is wrong */
  readonly probeMail: (files: readonly string[]) => Promise<string | undefined>;
  /** Returns what was found. @throws with what is wrong */
  readonly probeDatabase: (url: string | null) => Promise<string>;
  /** Looks at files, database, queues and network. @throws where it cannot begin */
  readonly inspect: (files: readonly string[]) => Promise<readonly Check[]>;
  /** Puts the events of an archive back. Returns what happened. @throws with what is wrong */
  readonly importArchive: (configFiles: readonly string[], path: string) => Promise<string>;
  /** Runs the embedded database alone until the process is to end; `onReady` is called with its URL. @throws with what is wrong */
  readonly runDatabase: (configFiles: readonly string[], onReady: (url: string) => void) => Promise<void>;
  /** Moves media from files to the object store. Returns what happened. @throws with what is wrong */
  readonly moveMedia: (configFiles: readonly string[]) => Promise<string>;
  /** Has the server sign with a new key. Returns what happened. @throws with what is wrong */
  readonly rotateSigningKey: (configFiles: readonly string[]) => Promise<string>;
  /** Does something with the services of a server that does not run. @throws with what is wrong */
  readonly administrate: (
    configFiles: readonly string[],
    work: (administration: Administration) => Promise<number>,
  ) => Promise<number>;
  /** Writes the generated files and returns the paths of those that changed. */
  readonly generate: () => Promise<readonly string[]>;
}

/** Where a server with this configuration is reached from the same machine. */
export function localAddress(config: CliConfig): string {
  const { bind, port } = config.http;
  const host = bind === '0.0.0.0' ? '127.0.0.1' : bind === '::' ? '[::1]' : bind.includes(':') ? `[${bind}]` : bind;
  return `http://${host}:${port}`;
}
