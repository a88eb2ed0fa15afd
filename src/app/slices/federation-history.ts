import { HistoryApi } from '#src/remote/federation/history-api.ts';
import { BackfillReceiver } from '#src/services/events/receiving/backfill-receiver.ts';
import { Backfill } from '#src/services/federation/backfill/backfill.ts';
import { FailedFetches } from '#src/services/federation/inbound/failed-fetches.ts';
import { MissingEvents } from '#src/services/federation/inbound/missing-events.ts';
import { RoomFetcher } from '#src/services/federation/inbound/room-fetcher.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { Events } from './events.ts';
import type { EventStreaming } from './event-stream.ts';
import type { RoomModel } from './room-model.ts';
import type { Servers } from './servers.ts';

/** Fetches missing history of rooms from other servers. */
export interface FederationHistory {
  readonly historyApi: HistoryApi;
  readonly roomFetcher: RoomFetcher;
  readonly missingEvents: MissingEvents;
  readonly backfill: Backfill;
}

export function composeFederationHistory(
  below: Platform & Commit & EventStreaming & Events & RoomModel & Servers,
): Slice<FederationHistory> {
  const { clock, config, database, interner, loader, logger, merger, metrics, random, rooms, states, stream } = below;
  const { eventVerifier: verifier, federationClient, receiver, timers } = below;
  const failedFetches = new FailedFetches(clock);
  const historyApi = new HistoryApi(federationClient);
  const roomFetcher = new RoomFetcher({
    serverName: config.serverName,
    history: historyApi,
    verifier,
    receiver,
    loader,
    database,
    random,
    failedFetches,
    logger,
  });
  const past = new BackfillReceiver({
    database,
    interner,
    loader,
    states,
    merger,
    stream,
    lateRedactions: below.lateRedactions,
    clock,
  });
  const missingEvents = new MissingEvents({ fetcher: roomFetcher, receiver, failedFetches });
  const backfill = new Backfill({
    database,
    rooms,
    history: historyApi,
    fetcher: roomFetcher,
    past,
    gaps: missingEvents,
    wholeState: below.wholeState,
    failedFetches,
    stream,
    clock,
    timers,
    logger,
    metrics,
  });
  return {
    name: 'federation history',
    services: {
      historyApi,
      roomFetcher,
      missingEvents,
      backfill,
    },
    idle: () => backfill.idle(),
    close: () => backfill.close(),
  };
}
