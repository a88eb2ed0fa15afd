import { HistoryAnswers } from '#src/services/federation/history/history-answers.ts';
import { HistoryWalk } from '#src/services/federation/history/history-walk.ts';
import { StateResets } from '#src/services/federation/history/state-resets.ts';
import { ServerVisibility } from '#src/services/federation/history/server-visibility.ts';
import type { EduHandlers } from '#src/services/federation/inbound/edu-handlers.ts';
import { ExtremityMerger } from '#src/services/federation/inbound/extremity-merger.ts';
import { InboundQueue } from '#src/services/federation/inbound/inbound-queue.ts';
import { InboundTransactions } from '#src/services/federation/inbound/inbound-transactions.ts';
import { InboundStateLimiter } from '#src/services/federation/inbound/inbound-state-limiter.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { Events } from './events.ts';
import type { EventStreaming } from './event-stream.ts';
import type { FederationHistory } from './federation-history.ts';
import type { FederationJoins } from './federation-joins.ts';
import type { Outbound } from './outbound.ts';
import type { Reading } from './reading.ts';
import type { RoomModel } from './room-model.ts';
import type { Servers } from './servers.ts';

/** Transactions from other servers. */
export interface FederationInbound {
  readonly inboundTransactions: InboundTransactions;
  readonly inboundQueue: InboundQueue;
  readonly historyAnswers: HistoryAnswers;
  readonly stateResets: StateResets;
  readonly extremityMerger: ExtremityMerger;
}

export function composeFederationInbound(
  below: Platform &
    Commit &
    Events &
    EventStreaming &
    FederationHistory &
    FederationJoins &
    Pick<Outbound, 'rateLimiter'> &
    RoomModel &
    Reading &
    Servers & { readonly eduHandlers?: EduHandlers },
): Slice<FederationInbound> {
  const { clock, config, database, logger, metrics, timers } = below;
  const { eduHandlers = {}, eventVerifier: verifier, loader, missingEvents: gaps, receiver, rooms } = below;
  const { serverName } = config;
  const work = { clock, timers, logger, metrics };
  const inboundQueue = new InboundQueue({
    database,
    rooms,
    receiver,
    gaps,
    policies: below.receivedChecks,
    stateLimiter: new InboundStateLimiter({ rateLimiter: below.rateLimiter, logger, metrics }),
    stream: below.stream,
    isAway: (name) => below.backoff.outageOf(name) !== undefined,
    ...work,
  });
  const inboundTransactions = new InboundTransactions({
    database,
    rooms,
    verifier,
    queue: inboundQueue,
    unjoined: {
      coming: (roomId) => below.remoteJoins.coming(roomId),
      take: (origin, roomId, pdu) => below.receivedInvites.takeEvent(origin, roomId, pdu),
    },
    eduHandlers,
    serverName,
    clock,
    logger,
    metrics,
  });
  const { authGraphs: graphs, erasedUsers: erased, interner, states } = below;
  const historyAnswers = new HistoryAnswers({
    serverName,
    database,
    rooms,
    loader,
    states,
    graphs,
    walk: new HistoryWalk(database, loader),
    visibility: new ServerVisibility({ interner, loader, states, erased }),
    clock,
    whole: below.wholeState,
  });
  const { events, stream } = below;
  const merger = new ExtremityMerger({ events, rooms, stream, timers, logger });
  return {
    name: 'federation inbound',
    services: {
      inboundTransactions,
      inboundQueue,
      historyAnswers,
      stateResets: new StateResets(database),
      extremityMerger: merger,
    },
    start: () => inboundQueue.start(),
    async idle() {
      await inboundTransactions.idle();
      await inboundQueue.idle();
    },
    async close() {
      await inboundQueue.close();
      await merger.close();
    },
  };
}
