import { ClientAddress } from '#src/http/middleware/client-address.ts';
import type { HttpServer } from '#src/http/server.ts';
import type { RateLimiter } from '#src/kernel/rate-limiter.ts';
import type { V3Sync } from '#src/services/sync/v3/v3-sync.ts';
import type { SyncUsers } from '#src/services/sync/engine/sync-users.ts';
import { WEBSOCKET_PATH, WebSocketApi } from '#src/ws/web-socket-api.ts';
import type { Accounts } from './accounts.ts';
import type { Platform } from './platform.ts';
import type { Rooms } from './rooms.ts';
import type { UserData } from './user-data.ts';

/** Mounts the WebSocket API: the same services as HTTP, frames of its own. */
export function mountWebSocket(
  platform: Platform,
  http: HttpServer,
  rateLimiter: RateLimiter,
  accounts: Accounts,
  rooms: Rooms,
  userData: UserData,
  engine: { readonly sync: V3Sync; readonly users: SyncUsers },
): void {
  const { clock, config, logger, metrics, timers } = platform;
  const { activity, sessions } = accounts;
  const { filters, presence, readMarkers, typing } = userData;
  const addresses = new ClientAddress(config.http.trustedProxies);
  const api = new WebSocketApi({
    services: {
      sessions,
      sync: engine.sync,
      users: engine.users,
      filters,
      presence: {
        seen: (userId, state, deviceId) => presence.seen(userId, state, deviceId),
        set: (userId, state, statusMsg) => presence.set(userId, userId, state, statusMsg),
      },
      typing,
      readMarkers,
      sending: rooms.roomSending,
      membership: rooms.membership,
      history: rooms.history,
    },
    rateLimiter,
    clock,
    timers,
    logger,
    metrics,
    drainSignal: http.drainSignal,
    clientAddress: (remoteAddress, forwardedFor) => addresses.of(remoteAddress, forwardedFor),
    seen: ({ userId, deviceId }, ip, userAgent) => {
      if (deviceId !== undefined) activity.seen(userId, deviceId, ip, userAgent);
    },
    limits: { heartbeatMs: config.websocket.heartbeatMs, maxQueueBytes: config.websocket.maxQueueBytes },
  });
  http.onUpgrade(WEBSOCKET_PATH, api.upgrade);
}
