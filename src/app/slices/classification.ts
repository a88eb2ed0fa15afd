import { NotificationRules } from '#src/services/push/classification/classifier.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { PushRules } from './push-rules.ts';
import type { RoomModel } from './room-model.ts';
import type { Users } from './users.ts';

/** The classification of notifications. Events are classified while they are built, so it is composed before them. */
export interface Classification {
  readonly classifier: NotificationRules;
}

export function composeClassification(below: Platform & Users & PushRules & RoomModel): Slice<Classification> {
  const { database, followedThreads, loader, pushRules, users } = below;
  return {
    name: 'classification',
    services: {
      classifier: new NotificationRules({
        database,
        pushRules,
        followedThreads,
        loader,
        isLocal: (userId) => users.isLocal(userId),
      }),
    },
  };
}
