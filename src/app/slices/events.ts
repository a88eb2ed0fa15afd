import { LateRedactions } from '#src/services/events/receiving/late-redactions.ts';
import type { FollowUp } from '#src/services/events/building/follow-ups.ts';
import { EventReceiver, type EventReceiverOptions } from '#src/services/events/receiving/event-receiver.ts';
import { StickyReview } from '#src/services/events/receiving/sticky-review.ts';
import { AuthGraphs } from '#src/services/events/resolution/auth-graph.ts';
import { ResolutionThread } from '#src/services/events/resolution/resolution-thread.ts';
import { StateMerger } from '#src/services/events/resolution/state-merger.ts';
import { PolicyApi } from '#src/remote/federation/policy-api.ts';
import { PolicyServers } from '#src/services/events/policy/policy-servers.ts';
import { ReceivedChecks } from '#src/services/events/policy/received-checks.ts';
import { EventService } from '#src/services/events/stream/event-service.ts';
import type { Platform } from '../ground/platform.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Classification } from './classification.ts';
import type { Policy } from './policy.ts';
import type { RoomModel } from './room-model.ts';
import type { Servers } from './servers.ts';

/** Events: those of this server's users, and those of other servers. */
export interface Events {
  readonly policyServers: PolicyServers;
  readonly receivedChecks: ReceivedChecks;
  readonly events: EventService;
  readonly lateRedactions: LateRedactions;
  readonly receiver: EventReceiver;
  readonly stickyReview: StickyReview;
  readonly authGraphs: AuthGraphs;
  readonly merger: StateMerger;
}

/** @param followUps what jobs events make necessary */
export function composeEvents(
  below: Platform & ServerFiles & Servers & Commit & Policy & RoomModel & Classification & EventStreaming,
  followUps: readonly FollowUp[],
): Slice<Events> {
  const { config, clock, database, random, classifier, signingKeys } = below;
  const { interner, loader, rooms, states, stream, writer } = below;
  const store = { database, interner, loader, rooms, states, stream, writer };
  const policies = new PolicyServers({
    api: new PolicyApi(below.federationClient),
    verifier: below.signatureVerifier,
    clock,
  });
  const receivedChecks = new ReceivedChecks(policies, below.spamChecks);
  const lateRedactions = new LateRedactions({ database, loader, writer, stream });
  const events = new EventService({
    ...store,
    policies,
    clock,
    random,
    followUps,
    classifier,
    signer: { serverName: config.serverName, signingKey: signingKeys[0] },
    maxStickyEvents: config.room.maxStickyEvents,
    onAwaitedRedaction: (roomNid) => lateRedactions.await(roomNid),
  });
  const thread = new ResolutionThread();
  const authGraphs = new AuthGraphs(database);
  const merger = new StateMerger({ ...store, graphs: authGraphs, thread });
  return {
    name: 'events',
    services: {
      policyServers: policies,
      receivedChecks,
      events,
      receiver: new EventReceiver({
        ...store,
        policies: receivedChecks,
        clock,
        merger,
        classifier,
        events,
        lateRedactions,
        onReset: noteResets(below),
      }),
      lateRedactions,
      stickyReview: new StickyReview({ ...store, events, policies }),
      authGraphs,
      merger,
    },
    async start() {
      await events.sticky.start();
      await lateRedactions.start();
    },
    close: () => thread.close(),
  };
}

/** Logs state resets: nothing in the room shows them. */
function noteResets({ logger, metrics }: Platform): NonNullable<EventReceiverOptions['onReset']> {
  const counter = metrics.counter(
    'tsudoi_state_resets_total',
    'Resolutions of forks that took back joins or power levels without an event that says so.',
    ['what'],
  );
  return (room, event, { members, power }) => {
    if (members.length > 0) counter.inc({ what: 'members' });
    if (power) counter.inc({ what: 'power' });
    logger.warn('the resolution of a fork reset state of a room', {
      room_id: room.roomId,
      event_id: event.eventId,
      members: members.length,
      example: members[0],
      power,
    });
  };
}
