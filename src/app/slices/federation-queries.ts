import { MediaApi } from '#src/remote/federation/media-api.ts';
import { PublicRoomsApi } from '#src/remote/federation/public-rooms-api.ts';
import { QueriesApi } from '#src/remote/federation/queries-api.ts';
import { SpacesApi } from '#src/remote/federation/spaces-api.ts';
import { UserKeysApi } from '#src/remote/federation/user-keys-api.ts';
import { RemoteKeys } from '#src/services/e2ee/device-keys/remote-keys.ts';
import { RemoteAliases } from '#src/services/rooms/aliases/remote-aliases.ts';
import { RemotePublicRooms } from '#src/services/rooms/directory/remote-public-rooms.ts';
import { RemoteProfiles } from '#src/services/user-data/profiles/remote-profiles.ts';
import { remoteCaches } from '../config/cache-shares.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Outbound } from './outbound.ts';
import type { Servers } from './servers.ts';

/** Queries to other servers on behalf of users: profiles, aliases, directories, keys. */
export interface Queries {
  readonly mediaApi: MediaApi;
  readonly remoteAliases: RemoteAliases;
  readonly remoteKeys: RemoteKeys;
  readonly remoteProfiles: RemoteProfiles;
  readonly remotePublicRooms: RemotePublicRooms;
  readonly spacesApi: SpacesApi;
}

export function composeQueries(below: Platform & Outbound & Servers): Slice<Queries> {
  const { clock, config, federationClient: client, outbound, timers } = below;
  const queries = new QueriesApi(client);
  const caches = remoteCaches(config);
  return {
    name: 'queries',
    services: {
      mediaApi: new MediaApi({ client, outbound, maxBytes: config.media.maxRemoteBytes }),
      remoteAliases: new RemoteAliases({ api: queries, clock, cacheBytes: caches.aliases }),
      remoteKeys: new RemoteKeys({ api: new UserKeysApi(client), client, timers }),
      remoteProfiles: new RemoteProfiles({
        api: queries,
        clock,
        cacheBytes: { told: caches.profiles, answers: caches.profileAnswers },
      }),
      remotePublicRooms: new RemotePublicRooms({
        api: new PublicRoomsApi(client),
        clock,
        cacheBytes: caches.publicRooms,
      }),
      spacesApi: new SpacesApi(client),
    },
  };
}
