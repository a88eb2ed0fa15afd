import { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';

/** What users want to be notified of. It is told as account data, so it is put together before that. */
export interface PushRules {
  readonly pushRules: PushRuleService;
}

export function composePushRules({ config, database, interner, writer }: Platform & Commit): Slice<PushRules> {
  return {
    name: 'push-rules',
    services: {
      pushRules: new PushRuleService({
        database,
        interner,
        writer,
        legacyMentions: config.push.legacyMentions,
        quota: config.quotas.pushRules,
      }),
    },
  };
}
