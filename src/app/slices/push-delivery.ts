import { PushGateways } from '#src/remote/push-gateway.ts';
import { GatewayHealth } from '#src/services/push/delivery/gateway-health.ts';
import { PushDelivery } from '#src/services/push/delivery/push-delivery.ts';
import { PushRecipients } from '#src/services/push/delivery/push-recipients.ts';
import { PushSender } from '#src/services/push/delivery/push-sender.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Events } from './events.ts';
import { composeFollower } from './follower.ts';
import type { Outbound } from './outbound.ts';
import type { Push } from './push.ts';
import type { PushRules } from './push-rules.ts';
import type { RoomModel } from './room-model.ts';
import type { UserData } from './user-data.ts';

/** Push notifications to gateways and by mail. */
export interface PushDeliveries {
  readonly pushDelivery: PushDelivery;
}

export function composePushDelivery(
  below: Platform & Commit & Outbound & UserData & RoomModel & PushRules & EventStreaming & Events & Push,
): Slice<PushDeliveries> {
  const { accountData, badges, clock, config, database, events, ignoredUsers, interner, loader, logger } = below;
  const { followedThreads, metrics } = below;
  const { pusherRegistry: registry, pushers, pushOutbound, pushRules, random, receipts, rooms, stream } = below;
  const { timers, unread } = below;
  const { allowHttp, concurrency, graceMs, includeContent, retryMs } = config.push;
  const health = new GatewayHealth();
  const recipients = new PushRecipients({ database, clock, stream, registry, pushRules });
  const pushDelivery = new PushDelivery({
    database,
    interner,
    rooms,
    loader,
    events,
    registry,
    pushers,
    recipients,
    pushRules,
    followedThreads,
    ignoredUsers,
    invitePermission: below.invitePermission,
    accountData,
    receipts,
    unread,
    badges,
    health,
    clock,
    timers,
    random,
    logger,
    metrics,
    concurrency,
    graceMs,
    retryMs,
    sender: new PushSender({
      database,
      registry,
      pushers,
      pushRules,
      badges,
      loader,
      gateways: new PushGateways(pushOutbound, allowHttp),
      health,
      logger,
      metrics,
      includeContent,
    }),
  });
  const { follower, close } = composeFollower(below, {
    name: 'push',
    startsNow: true,
    takesOutOfBand: true,
    wantsRoom: (room) => recipients.concerns(room),
    take: (batch) => pushDelivery.take(batch),
  });
  return {
    name: 'push-delivery',
    services: { pushDelivery },
    async start() {
      await pushDelivery.start();
      await follower.start();
    },
    async idle() {
      await follower.idle();
      await pushDelivery.idle();
    },
    drain: () => pushDelivery.drain(),
    async close() {
      await close();
      await pushDelivery.close();
      await pushOutbound.close();
    },
  };
}
