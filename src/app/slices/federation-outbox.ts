import { Signal } from '#src/kernel/signal.ts';
import { UserDevicesApi } from '#src/remote/federation/user-devices-api.ts';
import { ToDeviceOutbox } from '#src/services/federation/edus/to-device-outbox.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Servers } from './servers.ts';

/** What the outbound queues for other servers are composed from. */
export interface FederationOutbox {
  readonly toDeviceOutbox: ToDeviceOutbox;
  readonly userDevicesApi: UserDevicesApi;
  /** Called when something is queued for a server. */
  readonly destinationWoken: Signal<string>;
}

export function composeFederationOutbox(below: Platform & Servers): Slice<FederationOutbox> {
  const { clock, database, federationClient, serverPolicy } = below;
  const destinationWoken = new Signal<string>();
  return {
    name: 'federation-outbox',
    services: {
      destinationWoken,
      userDevicesApi: new UserDevicesApi(federationClient),
      toDeviceOutbox: new ToDeviceOutbox({
        database,
        clock,
        allows: (serverName) => serverPolicy.allows(serverName),
        wake: (destination) => destinationWoken.emit(destination),
      }),
    },
  };
}
