import { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { FollowedThreads } from '#src/services/push/threads/followed-threads.ts';
import { userCaches } from '../config/cache-shares.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';

/** Push rules and thread subscriptions. Push rules are account data as well, so this is composed before account data. */
export interface PushRules {
  readonly pushRules: PushRuleService;
  readonly followedThreads: FollowedThreads;
}

export function composePushRules({ config, database, interner, writer }: Platform & Commit): Slice<PushRules> {
  const caches = userCaches(config);
  const pushRules = new PushRuleService({
    database,
    interner,
    writer,
    legacyMentions: config.push.legacyMentions,
    encryptedEvents: config.push.encryptedEvents,
    quota: config.quotas.pushRules,
    cacheBytes: caches.pushRules,
  });
  const followedThreads = new FollowedThreads({
    database,
    interner,
    writer,
    pushRules,
    most: config.quotas.threadSubscriptions,
    cacheBytes: caches.threads,
  });
  return { name: 'push-rules', services: { pushRules, followedThreads } };
}
