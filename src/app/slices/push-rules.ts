import { NotificationRules } from '#src/services/push/classification/classifier.ts';
import { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Accounts } from './accounts.ts';
import type { Commit } from './commit.ts';
import type { RoomModel } from './room-model.ts';
import type { UserData } from './user-data.ts';

/** What decides whom an event notifies. Events are asked about while they are built, so it is put together before them. */
export interface PushRules {
  readonly pushRules: PushRuleService;
  readonly classifier: NotificationRules;
}

export function composePushRules(below: Platform & Commit & Accounts & UserData & RoomModel): Slice<PushRules> {
  const { accountData, database, interner, loader, users } = below;
  const pushRules = new PushRuleService({ database, interner, accountData });
  const classifier = new NotificationRules({ pushRules, loader, isLocal: (userId) => users.isLocal(userId) });
  return { name: 'push-rules', services: { pushRules, classifier } };
}
