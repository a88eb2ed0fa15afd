import { KeyAnswers } from '#src/services/federation/queries/key-answers.ts';
import { MediaAnswers } from '#src/services/federation/queries/media-answers.ts';
import { ProfileAnswers } from '#src/services/federation/queries/profile-answers.ts';
import { PublicRoomsAnswers } from '#src/services/federation/queries/public-rooms-answers.ts';
import { SpaceAnswers } from '#src/services/federation/queries/space-answers.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { Encryption } from './e2ee.ts';
import type { Media } from './media.ts';
import type { Memberships } from './membership.ts';
import type { RoomModel } from './room-model.ts';
import type { Rooms } from './rooms.ts';
import type { Users } from './users.ts';

/** The answers to other servers' requests. */
export interface Answers {
  readonly keyAnswers: KeyAnswers;
  readonly mediaAnswers: MediaAnswers;
  readonly profileAnswers: ProfileAnswers;
  readonly publicRoomsAnswers: PublicRoomsAnswers;
  readonly spaceAnswers: SpaceAnswers;
}

export function composeAnswers(
  below: Platform & Commit & Users & RoomModel & Memberships & Rooms & Encryption & Media,
): Slice<Answers> {
  const { config, database, keyClaims, keyQuery, media, mediaDelivery, openness, profiles, publicRooms } = below;
  const { random, rooms, thumbnails, users } = below;
  const { serverName } = config;
  return {
    name: 'answers',
    services: {
      keyAnswers: new KeyAnswers({ keyQuery, keyClaims, isLocal: (userId) => users.isLocal(userId) }),
      mediaAnswers: new MediaAnswers({ media, thumbnails, mediaDelivery, random, serverName }),
      profileAnswers: new ProfileAnswers({ profiles, serverName, isOpen: config.federation.tellProfiles }),
      publicRoomsAnswers: new PublicRoomsAnswers({ publicRooms, isOpen: config.federation.tellPublicRooms }),
      spaceAnswers: new SpaceAnswers({ database, rooms, openness, serverName }),
    },
  };
}
