import type { Check } from '#src/cli/finding.ts';
import { type Clock, systemClock } from '#src/kernel/clock.ts';
import type { Config } from '../config/config.ts';
import { certificateAuthorities } from '../ground/server-files.ts';
import { databaseChecks } from './database-checks.ts';
import { machineChecks } from './machine-checks.ts';
import { networkChecks } from './network-checks.ts';

/** Checks everything beyond the configuration: files, database, queues, Redis, and how others see this server. */
export async function checksOf(config: Config, clock: Clock = systemClock): Promise<readonly Check[]> {
  const authorities = await certificateAuthorities(config.federation.trustedCaFiles);
  const found = await Promise.all([
    machineChecks(config),
    databaseChecks(config, clock),
    networkChecks({ config, clock, certificateAuthorities: authorities }),
  ]);
  return found.flat();
}
