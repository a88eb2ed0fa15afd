import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import { AppserviceEvents } from '#src/services/appservices/delivery/appservice-events.ts';
import { AppserviceLog } from '#src/services/appservices/delivery/appservice-log.ts';
import { AppserviceTransactions } from '#src/services/appservices/delivery/appservice-transactions.ts';
import { Interest } from '#src/services/appservices/interest/interest.ts';
import { TransactionTransport } from '#src/services/appservices/delivery/transaction-transport.ts';
import { DeviceExtras } from '#src/services/appservices/extras/device-extras.ts';
import { EphemeralExtras } from '#src/services/appservices/extras/ephemeral-extras.ts';
import { UserInterest } from '#src/services/appservices/interest/user-interest.ts';
import { AppservicePing } from '#src/services/appservices/ping/appservice-ping.ts';
import { ThirdPartyLookups } from '#src/services/appservices/lookups/third-party-lookups.ts';
import { OpenSockets } from '#src/services/appservices/sockets/open-sockets.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { AppserviceRegistry } from './appservice-registry.ts';
import type { Commit } from './commit.ts';
import type { Encryption } from './e2ee.ts';
import type { Ephemeral } from './ephemeral.ts';
import type { EventStreaming } from './event-stream.ts';
import { composeFollower } from './follower.ts';
import type { Memberships } from './membership.ts';
import type { Outbound } from './outbound.ts';
import type { Push } from './push.ts';
import type { RoomModel } from './room-model.ts';
import type { Users } from './users.ts';

/** Milliseconds between a commit and its delivery to application services. */
const LAG_MS = 20;

/** Transactions to application services. */
export interface AppserviceDelivery {
  readonly appserviceTransactions: AppserviceTransactions;
  readonly appservicePing: AppservicePing;
  readonly thirdPartyLookups: ThirdPartyLookups;
  /** The open WebSockets of application services. */
  readonly appserviceSockets: OpenSockets;
}

export function composeAppservices(
  below: Platform &
    Outbound &
    AppserviceRegistry &
    Commit &
    Users &
    RoomModel &
    EventStreaming &
    Memberships &
    Encryption &
    Push &
    Ephemeral,
): Slice<AppserviceDelivery> {
  const { appserviceApi: api, appserviceOutbound, appservices, clock, config, database, deviceListChanges } = below;
  const { inboxes, keyCounts, loader, logger, membership, metrics, presence, random, receipts, rooms } = below;
  const { timers, toDevice, typing, writer } = below;
  const { maxWaitingEvents, socketKeepDays } = config.appservices;
  const sockets = new OpenSockets();
  const receives = ({ id, url }: ApplicationService): boolean => {
    if (url !== null || sockets.of(id) !== undefined) return true;
    const lastOpen = log.peek(id)?.delivery.socketTs ?? -Infinity;
    return lastOpen > clock.now() - socketKeepDays * DAY_MS;
  };
  const interest = new Interest({ database, appservices, loader });
  const userInterest = new UserInterest({ database, appservices, rooms, interest });
  const dropped = metrics.counter(
    'tsudoi_appservice_dropped_events_total',
    'events dropped because an application service was unreachable for too long',
    ['appservice'],
  );
  const log: AppserviceLog = new AppserviceLog({
    database,
    random,
    interest,
    receives,
    maxWaiting: maxWaitingEvents,
    dropped(id, events) {
      dropped.inc({ appservice: id }, events);
      logger.error('events for an unreachable application service were dropped', {
        appservice: id,
        events,
      });
    },
  });
  const wake = (id: string): void => appserviceTransactions.wake(id);
  const deviceExtras = new DeviceExtras({
    database,
    appservices,
    interest,
    userInterest,
    accountStream: below.accountStream,
    toDevice,
    counts: keyCounts,
    changes: deviceListChanges,
    committed: () => writer.committed(),
    receives,
    wake,
    logger,
  });
  const ephemeralExtras = new EphemeralExtras({
    appservices,
    interest,
    userInterest,
    rooms,
    typing,
    receipts,
    presence,
    receives,
    wake,
    timers,
    logger,
  });
  const appserviceTransactions: AppserviceTransactions = new AppserviceTransactions({
    database,
    appservices,
    log,
    events: new AppserviceEvents({ rooms, loader, stripped: membership, appservices, clock, logger }),
    extras: [deviceExtras, ephemeralExtras],
    received: (messages) => inboxes.received(messages),
    sender: new TransactionTransport(api, sockets),
    sockets,
    receives,
    clock,
    timers,
    random,
    logger,
    metrics,
  });
  const { follower, close } = composeFollower(below, {
    name: 'appservices',
    startsNow: true,
    takesOutOfBand: true,
    lagMs: LAG_MS,
    wantsRoom: (room) => appservices.all().some((service) => receives(service)) && interest.mayConcern(room),
    async take(batch) {
      await deviceExtras.note(batch);
      await appserviceTransactions.take(batch);
    },
  });
  return {
    name: 'application services',
    services: {
      appserviceTransactions,
      appservicePing: new AppservicePing({ api, clock, inContact: (id) => appserviceTransactions.inContact(id) }),
      appserviceSockets: sockets,
      thirdPartyLookups: new ThirdPartyLookups({ appservices, api, clock }),
    },
    async start() {
      await appserviceTransactions.open();
      await deviceExtras.start((id) => log.peek(id)?.delivery.devices ?? undefined);
      await appserviceTransactions.start();
      await follower.start();
    },
    async idle() {
      await follower.idle();
      await deviceExtras.idle();
      await ephemeralExtras.idle();
      await appserviceTransactions.idle();
    },
    drain: () => appserviceTransactions.drain(),
    async close() {
      await close();
      await deviceExtras.close();
      await ephemeralExtras.close();
      await appserviceOutbound.close();
    },
  };
}
