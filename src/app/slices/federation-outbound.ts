import { DeviceListEdus } from '#src/services/federation/edus/device-list-edus.ts';
import { DeviceListPublisher } from '#src/services/federation/edus/device-list-publisher.ts';
import { EduReception } from '#src/services/federation/edus/edu-reception.ts';
import { LocalDeviceKeys } from '#src/services/federation/edus/local-device-keys.ts';
import { PresenceEdus } from '#src/services/federation/edus/presence-edus.ts';
import { ReceiptEdus } from '#src/services/federation/edus/receipt-edus.ts';
import { CompletedRooms } from '#src/services/federation/partial-state/completed-rooms.ts';
import { SharingServers } from '#src/services/federation/edus/sharing-servers.ts';
import { TypingEdus } from '#src/services/federation/edus/typing-edus.ts';
import { EduSources } from '#src/services/federation/outbound/edu-sources.ts';
import { FederationOutbound } from '#src/services/federation/outbound/federation-outbound.ts';
import { UserDevicesAnswers } from '#src/services/federation/queries/user-devices-answers.ts';
import type { EduHandlers } from '#src/services/federation/inbound/edu-handlers.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { Encryption } from './e2ee.ts';
import type { Ephemeral } from './ephemeral.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Events } from './events.ts';
import type { FederationOutbox } from './federation-outbox.ts';
import type { Push } from './push.ts';
import type { RoomModel } from './room-model.ts';
import type { Servers } from './servers.ts';
import type { Users } from './users.ts';

/** Transactions to other servers, and the handling of their EDUs. */
export interface Outbound {
  readonly federationOutbound: FederationOutbound;
  /** Which device lists of this server's users other servers are to be sent. */
  readonly deviceLists: DeviceListPublisher;
  readonly deviceListEdus: DeviceListEdus;
  readonly userDevicesAnswers: UserDevicesAnswers;
  readonly completedRooms: CompletedRooms;
  /** The handling of EDUs from other servers. */
  readonly eduHandlers: EduHandlers;
}

export function composeFederationOutbound(
  below: Platform &
    Servers &
    FederationOutbox &
    Commit &
    Users &
    RoomModel &
    EventStreaming &
    Events &
    Encryption &
    Push &
    Ephemeral,
): Slice<Outbound> {
  const { clock, config, contacts, database, destinationWoken, deviceListChanges, events, federationClient } = below;
  const { keyQuery, loader, logger, metrics, presence, random, receipts, receiver, remoteDeviceLists, rooms } = below;
  const { serverPolicy } = below;
  const { stream, timers, toDevice, toDeviceOutbox, typing, users, writer } = below;
  const isLocal = (userId: string): boolean => users.isLocal(userId);
  const allows = (serverName: string): boolean => serverPolicy.allows(serverName);
  const wake = (destination: string): void => destinationWoken.emit(destination);
  const servers = new SharingServers(database, rooms);
  const localKeys = new LocalDeviceKeys(database, keyQuery);
  const deviceListEdus = new DeviceListEdus({ database, keys: localKeys, wake });
  const deviceLists = new DeviceListPublisher({
    database,
    writer,
    changes: deviceListChanges,
    keys: localKeys,
    edus: deviceListEdus,
    servers,
    timers,
    logger,
    metrics,
    isLocal,
    allows,
  });
  const receiptEdus = new ReceiptEdus({ rooms, receipts, clock, timers, logger, isLocal, wake });
  const typingEdus = new TypingEdus({ rooms, typing, timers, logger, isLocal, wake });
  const presenceEdus = config.presence.federate
    ? new PresenceEdus({ database, presence, stream, servers, timers, logger, isLocal, wake })
    : undefined;
  const edus = new EduSources([
    toDeviceOutbox,
    deviceListEdus,
    receiptEdus.edus,
    typingEdus.edus,
    ...(presenceEdus === undefined ? [] : [presenceEdus.edus]),
  ]);
  const federationOutbound = new FederationOutbound({
    serverName: config.serverName,
    database,
    rooms,
    stream,
    writer,
    client: federationClient,
    edus,
    sticky: events.sticky,
    woken: destinationWoken,
    contacts,
    isLocal,
    allows,
    // Presence is transient: what was not sent is replaced by the next change.
    joined: (room, serverName) => presenceEdus?.joined(room, serverName),
    clock,
    timers,
    random,
    logger,
    metrics,
    concurrency: config.federation.concurrency,
  });

  return {
    name: 'federation-outbound',
    services: {
      federationOutbound,
      deviceLists,
      deviceListEdus,
      userDevicesAnswers: new UserDevicesAnswers(database, localKeys, isLocal),
      completedRooms: new CompletedRooms({
        database,
        loader,
        receiver,
        remoteDeviceLists,
        deviceLists,
      }),
      eduHandlers: new EduReception({
        toDevice,
        remoteDeviceLists,
        receipts: receiptEdus,
        typing: typingEdus,
        presence: presenceEdus,
      }).handlers,
    },
    async start() {
      await federationOutbound.start();
      await deviceLists.start();
    },
    async idle() {
      await deviceLists.idle();
      await receiptEdus.edus.idle();
      await typingEdus.edus.idle();
      await presenceEdus?.idle();
      await federationOutbound.idle();
    },
    async drain() {
      await receiptEdus.edus.idle();
      await federationOutbound.drain();
    },
    async close() {
      await typingEdus.close();
      await receiptEdus.edus.close();
      await presenceEdus?.close();
      await deviceLists.close();
      await federationOutbound.close();
    },
  };
}
