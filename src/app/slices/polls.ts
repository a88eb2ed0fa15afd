import { EventPolls } from '#src/services/sync/legacy/event-polls.ts';
import { SlidingPolls } from '#src/services/sync/sliding/sliding-polls.ts';
import { SyncPolls } from '#src/services/sync/v3/sync-polls.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Accounts } from './accounts.ts';
import type { Ephemeral } from './ephemeral.ts';
import type { Peeking } from './peeking.ts';
import type { SlidingSyncing } from './sliding-sync.ts';
import type { Sync } from './sync.ts';
import type { UserData } from './user-data.ts';

/** Long-polls of clients over HTTP. */
export interface Polls {
  readonly syncPolls: SyncPolls;
  readonly slidingPolls: SlidingPolls;
  readonly eventPolls: EventPolls;
}

export function composePolls(
  below: Platform &
    Pick<Accounts, 'sessionPolls'> &
    Pick<UserData, 'filters'> &
    Pick<Ephemeral, 'presence'> &
    Pick<Peeking, 'eventStream'> &
    Pick<Sync, 'sync'> &
    SlidingSyncing,
): Slice<Polls> {
  const { config, eventStream, filters, presence, sessionPolls, slidingSync, sync } = below;
  const greatestTimeoutMs = config.sync.maxTimeoutMs;
  return {
    name: 'polls',
    services: {
      slidingPolls: new SlidingPolls({ slidingSync, presence, sessionPolls, greatestTimeoutMs }),
      syncPolls: new SyncPolls({ sync, filters, presence, sessionPolls, greatestTimeoutMs }),
      eventPolls: new EventPolls({ stream: eventStream, sessionPolls, greatestTimeoutMs }),
    },
  };
}
