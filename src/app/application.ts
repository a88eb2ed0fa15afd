import type { Argon2 } from '#src/services/accounts/credentials/password-hasher.ts';
import type { AnyTaskKind } from '#src/services/admin/tasks/task.ts';
import { composeServer, type ServerServices } from './composition.ts';
import type { Application } from './lifecycle.ts';
import { type MemorySaver, saveMemory } from './ground/memory-saver.ts';
import type { Platform } from './ground/platform.ts';
import { outageLogger } from './ground/outage-logger.ts';
import { rememberingLogger } from './ground/remembering-logger.ts';
import { openServerFiles } from './ground/server-files.ts';
import type { MoreSections } from './slices/sync.ts';

/** Additions to the usual composition of a server. */
export interface Extensions {
  readonly sections?: MoreSections;
  /** Replaces the usual implementation. */
  readonly argon2?: Argon2;
  /** Kinds of tasks. */
  readonly taskKinds?: readonly AnyTaskKind[];
  /** Milliseconds after which the job of a process that was killed is begun again. */
  readonly jobLockMs?: number;
}

/** The composed server and its parts. */
export interface ComposedApplication extends Application {
  readonly services: ServerServices;
  /** Gives memory back while the server runs; undefined before its start. */
  readonly memorySaver: MemorySaver | undefined;
  /**
   * Resolves when everything that was begun is done: writes, their reactions, jobs.
   *
   * @param onWait is told the name of each part of the server that is waited for
   */
  idle(onWait?: (name: string) => void): Promise<void>;
}

/** Composes the server on its platform. */
export async function createApplication(platform: Platform, extensions: Extensions = {}): Promise<ComposedApplication> {
  const files = await openServerFiles(platform.config, platform.random);
  const logger = rememberingLogger(outageLogger(platform.logger, platform.timers), platform);
  const composition = composeServer({
    ...platform,
    ...files,
    logger,
    moreSections: extensions.sections,
    argon2: extensions.argon2,
    jobLockMs: extensions.jobLockMs,
    moreTaskKinds: extensions.taskKinds,
  });
  const { services } = composition;
  let memorySaver: MemorySaver | undefined;
  return {
    services,
    get memorySaver() {
      return memorySaver;
    },
    async start() {
      await composition.start();
      memorySaver = saveMemory(() => composition.rest());
      return { address: services.publicAddress.listening };
    },
    idle: (onWait) => composition.idle(() => platform.database.statements(), onWait),
    drain() {
      memorySaver?.close();
      return composition.close(logger);
    },
    reload: () => composition.reload(),
  };
}
