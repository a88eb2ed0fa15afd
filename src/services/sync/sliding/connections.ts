import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import type { LRUCache } from 'lru-cache';
import type { Connection } from './connection.ts';

/** Connections of one device: those that were used longest ago begin again. */
export const MAX_PER_DEVICE = 20;

/** What names a connection. */
export interface ConnectionName {
  readonly userId: string;
  readonly deviceId: string;
  /** Tells connections of one device apart. */
  readonly connId: string;
}

const deviceOf = ({ userId, deviceId }: ConnectionName): string => JSON.stringify([userId, deviceId]);

/** The name as one text. */
export const connectionKey = ({ userId, deviceId, connId }: ConnectionName): string =>
  JSON.stringify([userId, deviceId, connId]);

/** Reads such a text. */
export const connectionName = (key: string): ConnectionName => {
  const [userId = '', deviceId = '', connId = ''] = JSON.parse(key) as string[];
  return { userId, deviceId, connId };
};

/** The connections that are in memory: so many of a device, and so many bytes of all together. */
export class Connections {
  readonly #connections: LRUCache<string, Connection>;
  /** Device -> the keys of its connections, the one that was used last at the end. */
  readonly #devices = new Map<string, Set<string>>();

  /** @param cacheBytes what they may weigh together */
  constructor(cacheBytes: number) {
    this.#connections = new CountedCache('sliding_sync_connections', {
      maxSize: cacheBytes,
      sizeCalculation: (connection) => connection.size,
      dispose: (_connection, key, reason) => {
        if (reason !== 'set') this.#forget(key);
      },
    });
  }

  get(name: ConnectionName): Connection | undefined {
    return this.#connections.get(connectionKey(name));
  }

  /** Looks without using it. */
  peek(key: string): Connection | undefined {
    return this.#connections.peek(key);
  }

  /** Drops the last response of an idle connection. */
  rest(key: string): void {
    const connection = this.#connections.peek(key);
    if (connection === undefined) return;
    connection.dropAnswer();
    this.#connections.set(key, connection);
  }

  /** All of them by their keys, the most recently used first. */
  entries(): readonly (readonly [key: string, connection: Connection])[] {
    return [...this.#connections];
  }

  /** Keeps a connection that is in use, as large as it is now. */
  keep(name: ConnectionName, connection: Connection): void {
    const key = connectionKey(name);
    const device = deviceOf(name);
    const keys = this.#devices.get(device) ?? new Set();
    this.#devices.set(device, keys);
    keys.delete(key);
    keys.add(key);
    this.#connections.set(key, connection);
    if (keys.size <= MAX_PER_DEVICE) return;
    const [oldest] = keys;
    if (oldest !== undefined) this.#connections.delete(oldest);
  }

  #forget(key: string): void {
    const device = deviceOf(connectionName(key));
    const keys = this.#devices.get(device);
    keys?.delete(key);
    if (keys?.size === 0) this.#devices.delete(device);
  }
}
