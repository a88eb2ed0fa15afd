import { CrossSigningService } from '#src/services/e2ee/cross-signing/cross-signing-service.ts';
import { SignatureUpload } from '#src/services/e2ee/cross-signing/signature-upload.ts';
import { DehydratedDevices } from '#src/services/e2ee/dehydration/dehydrated-devices.ts';
import { DeviceKeyService } from '#src/services/e2ee/device-keys/device-key-service.ts';
import { KeyClaims } from '#src/services/e2ee/device-keys/key-claims.ts';
import { DeviceKeyCounts } from '#src/services/e2ee/device-keys/key-counts.ts';
import { KeyQuery } from '#src/services/e2ee/device-keys/key-query.ts';
import { DeviceListChanges } from '#src/services/e2ee/device-lists/device-list-changes.ts';
import { KeyBackupService } from '#src/services/e2ee/key-backup/key-backup-service.ts';
import { DeviceInboxes } from '#src/services/e2ee/to-device/device-inboxes.ts';
import { type RemoteDeviceMessages, ToDeviceService } from '#src/services/e2ee/to-device/to-device-service.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Accounts } from './accounts.ts';
import type { Commit } from './commit.ts';
import type { Queries } from './federation-queries.ts';
import type { Users } from './users.ts';

/** What end-to-end encryption needs of the server. */
export interface Encryption {
  readonly deviceKeys: DeviceKeyService;
  readonly keyCounts: DeviceKeyCounts;
  readonly keyQuery: KeyQuery;
  readonly keyClaims: KeyClaims;
  readonly deviceListChanges: DeviceListChanges;
  readonly crossSigning: CrossSigningService;
  readonly signatureUpload: SignatureUpload;
  readonly keyBackup: KeyBackupService;
  readonly inboxes: DeviceInboxes;
  readonly toDevice: ToDeviceService;
  readonly dehydratedDevices: DehydratedDevices;
}

/** Messages for devices of other servers' users go nowhere. */
const closed: RemoteDeviceMessages = { send: () => Promise.resolve() };

export function composeEncryption(below: Platform & Queries & Commit & Users & Accounts): Slice<Encryption> {
  const { accountStream, clock, config, database, logger, remoteKeys, sessions, uia, users, writer } = below;
  const isLocal = (userId: string): boolean => users.isLocal(userId);
  const changes = new DeviceListChanges({ database, writer, accountStream, logger });
  const counts = new DeviceKeyCounts(database, accountStream);
  const inboxes = new DeviceInboxes(database, accountStream);
  const deviceKeys = new DeviceKeyService({ database, counts, changes, mostOneTimeKeys: config.e2ee.maxOneTimeKeys });
  return {
    name: 'e2ee',
    services: {
      deviceKeys,
      keyCounts: counts,
      keyQuery: new KeyQuery({ database, isLocal, remote: remoteKeys }),
      keyClaims: new KeyClaims({ database, counts, isLocal, remote: remoteKeys }),
      deviceListChanges: changes,
      crossSigning: new CrossSigningService({ database, clock, uia, changes }),
      signatureUpload: new SignatureUpload({ database, changes, isLocal, remote: remoteKeys }),
      keyBackup: new KeyBackupService({ database, mostBytes: config.e2ee.maxBackupBytes }),
      inboxes,
      toDevice: new ToDeviceService({ database, clock, writer, inboxes, isLocal, remote: closed }),
      dehydratedDevices: new DehydratedDevices({ database, clock, sessions, deviceKeys, inboxes }),
    },
    start: () => changes.start(),
    close: () => changes.idle(),
    idle: () => changes.idle(),
  };
}
