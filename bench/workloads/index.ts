import { attacks } from './attacks.ts';
import type { Workload } from '../workload.ts';
import { accounts } from './accounts.ts';
import { databaseSize } from './database-size.ts';
import { encryption } from './encryption.ts';
import { fanoutPolls, fanoutSockets } from './fanout.ts';
import { federationJoins } from './federation-joins.ts';
import { federationOutbound } from './federation-outbound.ts';
import { federationInbound } from './federation-inbound.ts';
import { footprint } from './footprint.ts';
import { forkedRoom } from './forked-room.ts';
import { idleSockets } from './idle-sockets.ts';
import { initialSync } from './initial-sync.ts';
import { media } from './media.ts';
import { previews } from './previews.ts';
import { retention } from './retention.ts';
import { roomDeletion } from './room-deletion.ts';
import { rooms } from './rooms.ts';
import { sendLargeRoom } from './send-large-room.ts';
import { sendPushedRoom } from './send-pushed-room.ts';
import { search } from './search.ts';
import { send } from './send.ts';
import { slidingFanout, slidingSync } from './sliding-sync.ts';

/** In the order of the report. */
export const workloads: readonly Workload[] = [
  send,
  sendLargeRoom,
  sendPushedRoom,
  databaseSize,
  forkedRoom,
  federationInbound,
  fanoutPolls,
  fanoutSockets,
  initialSync,
  slidingSync,
  slidingFanout,
  encryption,
  federationOutbound,
  rooms,
  search,
  accounts,
  previews,
  retention,
  roomDeletion,
  media,
  federationJoins,
  idleSockets,
  footprint,
  attacks,
];
