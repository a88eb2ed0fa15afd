import { CrossSigningService } from '#src/services/e2ee/cross-signing/cross-signing-service.ts';
import { SignatureUpload } from '#src/services/e2ee/cross-signing/signature-upload.ts';
import { DehydratedDevices } from '#src/services/e2ee/dehydration/dehydrated-devices.ts';
import { DeviceKeyService } from '#src/services/e2ee/device-keys/device-key-service.ts';
import { KeyClaims } from '#src/services/e2ee/device-keys/key-claims.ts';
import { DeviceKeyCounts } from '#src/services/e2ee/device-keys/key-counts.ts';
import { KeyQuery } from '#src/services/e2ee/device-keys/key-query.ts';
import { DeviceListChanges } from '#src/services/e2ee/device-lists/device-list-changes.ts';
import { RemoteDeviceLists } from '#src/services/e2ee/device-lists/remote-device-lists.ts';
import { KeyBackupService } from '#src/services/e2ee/key-backup/key-backup-service.ts';
import { DeviceInboxes } from '#src/services/e2ee/to-device/device-inboxes.ts';
import { InboxBounds } from '#src/services/e2ee/to-device/inbox-bounds.ts';
import { ToDeviceService } from '#src/services/e2ee/to-device/to-device-service.ts';
import { userCaches } from '../config/cache-shares.ts';
import { inboxLimits } from '../config/inbox-limits.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Accounts } from './accounts.ts';
import type { Commit } from './commit.ts';
import type { Queries } from './federation-queries.ts';
import type { EventStreaming } from './event-stream.ts';
import type { FederationOutbox } from './federation-outbox.ts';
import { composeFollower } from './follower.ts';
import type { RoomModel } from './room-model.ts';
import type { Users } from './users.ts';

/** Device keys, one-time keys, device lists, to-device messages and key backups. */
export interface Encryption {
  readonly deviceKeys: DeviceKeyService;
  readonly keyCounts: DeviceKeyCounts;
  readonly keyQuery: KeyQuery;
  readonly keyClaims: KeyClaims;
  readonly deviceListChanges: DeviceListChanges;
  readonly remoteDeviceLists: RemoteDeviceLists;
  readonly crossSigning: CrossSigningService;
  readonly signatureUpload: SignatureUpload;
  readonly keyBackup: KeyBackupService;
  readonly inboxes: DeviceInboxes;
  readonly toDevice: ToDeviceService;
  readonly dehydratedDevices: DehydratedDevices;
}

export function composeEncryption(
  below: Platform & Queries & Commit & Users & Accounts & RoomModel & EventStreaming & FederationOutbox,
): Slice<Encryption> {
  const { accountStream, clock, config, database, logger, remoteKeys, sessions, toDeviceOutbox, uia } = below;
  const { shadowBans, timers, userDevicesApi, users, writer } = below;
  const isLocal = (userId: string): boolean => users.isLocal(userId);
  const changes = new DeviceListChanges({ database, writer, accountStream, timers, logger });
  const remoteDeviceLists = new RemoteDeviceLists({ database, api: userDevicesApi, changes, logger });
  // Leaves, so that device lists are deleted that are not updated any more.
  const { follower, close } = composeFollower(below, {
    name: 'remote_device_lists',
    startsNow: true,
    types: ['m.room.member'],
    wantsRoom: (room) => room.hasRemoteMembers,
    take: (batch) => remoteDeviceLists.take(batch),
  });
  const counts = new DeviceKeyCounts(database, accountStream);
  const inboxes = new DeviceInboxes(database, accountStream, userCaches(config).inboxes);
  const deviceKeys = new DeviceKeyService({ database, counts, changes, maxOneTimeKeys: config.e2ee.maxOneTimeKeys });
  return {
    name: 'e2ee',
    services: {
      deviceKeys,
      keyCounts: counts,
      keyQuery: new KeyQuery({ database, isLocal, remote: remoteKeys, lists: remoteDeviceLists, follower }),
      keyClaims: new KeyClaims({ database, counts, isLocal, remote: remoteKeys }),
      deviceListChanges: changes,
      remoteDeviceLists,
      crossSigning: new CrossSigningService({ database, clock, uia, changes }),
      signatureUpload: new SignatureUpload({ database, changes, isLocal, remote: remoteKeys }),
      keyBackup: new KeyBackupService({ database, maxBytes: config.e2ee.maxBackupBytes }),
      inboxes,
      toDevice: new ToDeviceService({
        database,
        clock,
        writer,
        inboxes,
        bounds: new InboxBounds(database, inboxLimits(config)),
        isLocal,
        remote: toDeviceOutbox,
        shadowBans,
      }),
      dehydratedDevices: new DehydratedDevices({ database, clock, sessions, deviceKeys, inboxes }),
    },
    async start() {
      await changes.start();
      await follower.start();
    },
    async close() {
      await close();
      await remoteDeviceLists.idle();
      await changes.close();
    },
    async idle() {
      await follower.idle();
      await remoteDeviceLists.idle();
      await changes.idle();
    },
  };
}
