import { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import { readAppserviceFiles } from '../ground/appservice-files.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';

/** The registered application services: the lowest slice, since their exclusive namespaces concern all others. */
export interface AppserviceRegistry {
  readonly appservices: Appservices;
}

export function composeAppserviceRegistry({ config, database, logger }: Platform): Slice<AppserviceRegistry> {
  const appservices = new Appservices({
    database,
    logger,
    serverName: config.serverName,
    readFiles: () => readAppserviceFiles(config.appservices.files),
  });
  return {
    name: 'application service registry',
    services: { appservices },
    start: () => appservices.load(),
    reload: () => appservices.load(),
  };
}
