import { AddressGuard } from '#src/remote/address-guard.ts';
import { OutboundHttp } from '#src/remote/outbound-http.ts';
import { SpamCheckApi } from '#src/remote/spam-check-api.ts';
import { SpamChecks } from '#src/services/policy/callbacks/spam-checks.ts';
import { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import { DirectoryRules } from '#src/services/policy/rules/directory-rules.ts';
import { ServerList } from '#src/services/policy/rules/server-list.ts';
import { YoungAccounts } from '#src/services/policy/rules/young-accounts.ts';
import type { Platform } from '../ground/platform.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';
import type { Outbound } from './outbound.ts';
import type { Users } from './users.ts';

/** The operator's rules on what users may do. */
export interface Policy {
  readonly policyGate: PolicyGate;
  readonly spamChecks: SpamChecks;
}

export function composePolicy(below: Platform & ServerFiles & Outbound & Users): Slice<Policy> {
  const { certificateAuthorities, clock, config, logger, metrics, random, timers, users, version } = below;
  const { callbacks, invites, ...rules } = config.policy;
  const { baseUrl, concurrency, secret, timeoutMs } = callbacks;
  // The URL is the operator's, and redirects are not followed: it may be on this machine.
  const outbound = new OutboundHttp({
    guard: new AddressGuard({ deny: [], allow: [] }),
    timers,
    userAgent: `Tsudoi/${version}`,
    certificateAuthorities,
    resolve: below.nameResolver.addresses,
    perOrigin: concurrency,
    concurrency,
  });
  const api =
    baseUrl === null
      ? undefined
      : new SpamCheckApi({ outbound, baseUrl: baseUrl.replace(/\/+$/, ''), secret, timeoutMs });
  const spamChecks = new SpamChecks({ ...callbacks, api, clock, timers, random, logger, metrics });
  const policyGate = new PolicyGate({
    rules: {
      invites: { ...invites, servers: new ServerList(invites.allowServers, invites.denyServers) },
      roomCreation: new DirectoryRules(rules.roomCreationRules),
      aliasCreation: new DirectoryRules(rules.aliasCreationRules),
      publication: new DirectoryRules(rules.publicationRules),
      publicationBy: config.room.publication,
    },
    young: new YoungAccounts(
      rules.youngAccounts.map(({ forbid = [], limits = [], youngerThanHours }) => ({
        youngerThanHours,
        forbid,
        limits,
      })),
      clock,
    ),
    checks: spamChecks,
    accountOf: (userId) => users.account(userId),
    serverName: config.serverName,
  });
  return {
    name: 'policy',
    services: { policyGate, spamChecks },
    start: () => spamChecks.start(),
    idle: () => spamChecks.idle(),
    async close() {
      const closed = spamChecks.close();
      await outbound.close();
      await closed;
    },
  };
}
