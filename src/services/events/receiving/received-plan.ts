import type { Clock } from '#src/kernel/clock.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { Member, Membership } from '#src/services/room-model/room/membership.ts';
import type { RoomHead } from '#src/services/room-model/room/building-head.ts';
import type { StateSlot } from '#src/services/room-model/room/current-state.ts';
import type { ResolvedChanges } from '#src/services/room-model/room/resolved-changes.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain, StateChange } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { EventWrite, StateDeltaRow } from '#src/storage/events/event-rows.ts';
import type { Names } from '#src/storage/room-model/names.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import { deltaRowOf } from '#src/services/room-model/state/delta-row.ts';
import { eventRow, relationLink } from '#src/services/room-model/event/event-row.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { memberRow } from '#src/services/room-model/room/member-row.ts';
import {
  flagsOfVerdict,
  type NotificationClassifier,
  type NotificationVerdict,
} from '#src/services/events/building/notification-class.ts';
import type { StateStep } from '#src/services/events/building/follow-ups.ts';
import { OWN_EVENT } from './received-state.ts';
import { type StateReset, stateResetOf } from './state-reset.ts';
import type { ReceivingTurn } from './receiving-turn.ts';
import { settleArrivals } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import type { LateRedactions } from './late-redactions.ts';
import { prepareRedaction, type PreparedRedaction } from '#src/services/events/building/redacting.ts';
import { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { tailRowOf } from '#src/services/room-model/room/tail-row.ts';

/** What accepting an event changes in its room, computed without positions. */
export interface ReceivedPlan {
  readonly incoming: IdentifiedPdu;
  /** Of the event, and of the changes that it makes. */
  readonly names: Names;
  /** Canonical JSON without `unsigned`. */
  readonly json: string;
  readonly flags: number;
  readonly isAccepted: boolean;
  /** It becomes a forward extremity: it is accepted, and the room has not too many of them. */
  readonly isExtremity: boolean;
  readonly prev: readonly StoredEvent[];
  readonly auth: readonly StoredEvent[];
  /** The state event whose place it takes in its branch. */
  readonly replaced: StoredEvent | undefined;
  /** A state that is stored already, and the changes that lead from there to the state before the event. */
  readonly branch: StateChain;
  readonly toBefore: readonly StateChange[];
  /** The change that the event itself makes. */
  readonly own: StateChange | undefined;
  /** Forward extremities that stay beside it. */
  readonly others: readonly StoredEvent[];
  /** From the room's present state to the one that it has afterwards. */
  readonly changes: readonly StateChange[];
  /** The room's state afterwards is the one after the event. */
  readonly isAfterEvent: boolean;
  /** Events that `changes` name, but member events. */
  readonly stateEvent: (nid: number) => StoredEvent | undefined;
  /** What the member events say that `changes` name, and this event if it is one. */
  readonly membership: (nid: number) => Membership | undefined;
  /** Position of an event that it may relate to. */
  readonly positionOf: (eventId: string) => number | undefined;
  /** Those of its prev_events that are not here. */
  readonly missingPrev: readonly string[];
  /** Where it lay until now, as an outlier or refused. */
  readonly replacedPosition: number | undefined;
  readonly redaction: (event: StoredEvent) => PreparedRedaction | undefined;
  /** What it redacts, where that is not here. */
  readonly awaitedRedaction: string | undefined;
  /** Redactions of it that arrived before it. */
  readonly redactedBy: StoredEvent | undefined;
  /** When it stops being sticky, in milliseconds since the epoch; undefined when it does not stick. */
  readonly stickyUntil: number | undefined;
}

interface Tools {
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly classifier: NotificationClassifier;
  readonly events: EventService;
  readonly clock: Clock;
  readonly lateRedactions?: Pick<LateRedactions, 'await'>;
  /** Called on a state reset. */
  readonly onReset?: (room: Room, event: StoredEvent, reset: StateReset) => void;
}

const NO_NOTIFICATIONS: NotificationVerdict = {
  notifies: false,
  highlightsAll: false,
  notifiesFollowers: false,
  exceptions: [],
};

/** In rooms with so few members the default push rules depend on the number of members, so joins and leaves count for the next event. */
const FEW_MEMBERS = 4;

/**
 * Gives the event its position and queues it for writing, in one turn of the event loop. The room's head moves on at once, what readers see
 * once it is committed.
 */
export const queueReceived = (
  tools: Tools,
  turn: ReceivingTurn,
  plan: ReceivedPlan,
): { readonly event: StoredEvent; readonly written: Promise<void> } => {
  const { room } = turn;
  const { classifier, writer } = tools;
  const { incoming, names } = plan;
  const { pdu } = incoming;
  const { generation } = room;
  const positions: number[] = [];
  const deltas: StateDeltaRow[] = [];
  const fresh: StateChain[] = [];
  const allocate = (): number => {
    const position = writer.allocate(room.shard);
    positions.push(position);
    return position;
  };
  const stateAfterChanges = (chain: StateChain, nid: number, changes: readonly StateChange[]): StateChain => {
    const next = chain.append(nid, changes);
    deltas.push(deltaRowOf(room.nid, next));
    fresh.push(next);
    return next;
  };

  const present = room.head.chain;
  const before = plan.toBefore.length === 0 ? plan.branch : stateAfterChanges(plan.branch, allocate(), plan.toBefore);
  const nid = allocate();
  const settle = (change: StateChange): StateChange =>
    change.event === OWN_EVENT ? { ...change, event: nid } : change;
  const after = plan.own === undefined ? before : stateAfterChanges(before, nid, [settle(plan.own)]);
  const changes = plan.changes.map(settle);
  let current = present;
  if (plan.isAfterEvent) current = after;
  else if (changes.length > 0) current = stateAfterChanges(present, allocate(), changes);

  // A room of which nothing was stored had no local members.
  const notification = plan.isAccepted && room.stateId !== 0 ? classifier.classify(room, pdu) : NO_NOTIFICATIONS;
  let { flags } = plan;
  flags |= flagsOfVerdict(notification);
  const parts = {
    room,
    nid,
    topo: pdu.depth,
    eventId: incoming.eventId,
    state: before.nid,
    flags,
    replaces: plan.replaced?.nid,
    currentState:
      current.nid === after.nid && changes.every((change) => change.event === nid) ? undefined : current.nid,
    json: plan.json,
    pdu,
  };
  const event = new StoredEvent(parts);
  event.previous = plan.replaced;
  const head: RoomHead = plan.isExtremity ? { extremities: [...plan.others, event], chain: current } : room.head;
  const depth = plan.isExtremity ? Math.max(room.headDepth, event.topo) : room.headDepth;
  const resolved = resolvedChanges(tools, turn, event, changes, plan);
  const comeOrGo = resolved.members.some(({ userId, membership }) => turn.member(userId)?.membership !== membership);
  const redaction = plan.redaction(event);
  const reset = plan.isAccepted ? stateResetOf(room, resolved, (userId) => turn.member(userId), nid) : undefined;
  const write: EventWrite = {
    isReceived: true,
    events: [
      eventRow(names, parts, {
        prev: plan.prev.map((one) => one.nid),
        auth: plan.auth.map((one) => one.nid),
        relation: relationLink(pdu, plan.positionOf),
      }),
    ],
    deltas,
    members: resolved.members.map((member) => memberRow(room, member)),
    jobs: tools.events.jobsAfter(
      stepOf(turn, resolved, redaction),
      plan.redactedBy === undefined ? [] : [requestJob(settleArrivals, { room: room.nid, events: [nid] })],
    ),
    awaitedRedactions:
      plan.awaitedRedaction === undefined
        ? []
        : [{ room: room.nid, target: eventIdBytes(plan.awaitedRedaction), redaction: nid }],
    mentions: notification.exceptions.map(({ userId, kind }) => ({
      user: turn.member(userId)?.user ?? names.user(userId),
      room: room.nid,
      pos: nid,
      thread: null,
      kind,
    })),
    redactions: redaction === undefined ? [] : [redaction.row],
    stickies:
      plan.stickyUntil === undefined
        ? []
        : [{ room: room.nid, event: nid, pos: plan.isAccepted ? nid : null, expires: plan.stickyUntil }],
    resets:
      reset === undefined
        ? []
        : [
            {
              room: room.nid,
              event: nid,
              ts: tools.clock.now(),
              members: reset.members.length,
              power: reset.power,
              example: reset.members[0],
            },
          ],
    replaced: plan.replacedPosition === undefined ? [] : [{ room: room.nid, nid: plan.replacedPosition }],
    missing: plan.missingPrev.map((eventId) => ({ room: room.nid, eventId: eventIdBytes(eventId), referrer: nid })),
    tails: [tailRowOf(room, head, depth, nid)],
  };
  room.moveHead(head, depth);
  const written = writer.append({
    positions,
    events: write,
    isStale: () => room.generation !== generation,
    revert: () => room.dropHead(),
    publish: (wasAwaited) => {
      const members = resolved.members.map((member) => ({ before: room.member(member.userId), after: member }));
      for (const chain of fresh) tools.states.remember(chain);
      if (plan.awaitedRedaction !== undefined) tools.lateRedactions?.await(room.nid);
      // Its content is hidden at once; the stored event is redacted with the write.
      const late =
        plan.redactedBy === undefined ? undefined : prepareRedaction(room, plan.redactedBy, event, room.powerLevels());
      late?.apply();
      room.applyReceived(event, head, depth, resolved, plan.isAccepted);
      tools.loader.remember(event);
      redaction?.apply();
      if (reset !== undefined) tools.onReset?.(room, event, reset);
      if (plan.stickyUntil !== undefined) {
        const pos = plan.isAccepted ? nid : undefined;
        tools.events.sticky.committed(room, { event, pos, until: plan.stickyUntil });
      }
      if (!plan.isAccepted) {
        tools.stream.publish({ kind: 'stored', room, eventIds: [event.eventId] });
        return;
      }
      const isOwn = (member: Member): boolean => member.event === nid;
      tools.stream.publish({
        kind: 'appended',
        room,
        events: [
          {
            event,
            member: members.find(({ after: member }) => isOwn(member)),
            mentions: (write.mentions ?? []).map(({ user, kind }) => ({ user, kind })),
            wasAwaited: wasAwaited(nid),
          },
        ],
        resolvedMembers: members.filter(({ after: member }) => !isOwn(member)),
      });
    },
  });
  turn.queued({
    event,
    chains: fresh,
    members: resolved.members,
    changesMore:
      resolved.state.size > 0 ||
      resolved.members.some(({ local }) => local) ||
      (comeOrGo && room.joinedCount <= FEW_MEMBERS) ||
      redaction !== undefined ||
      plan.stickyUntil !== undefined ||
      plan.missingPrev.length > 0,
    written,
  });
  return { event, written };
};

/** The changes as follow-ups see them. */
const stepOf = (
  turn: ReceivingTurn,
  { state, members }: ResolvedChanges,
  redaction: PreparedRedaction | undefined,
): StateStep => ({
  redacted: redaction === undefined ? [] : [redaction.target],
  room: turn.room,
  state: [...state.values()].flatMap((slot) => slot?.event ?? []),
  members: members.map(({ userId, local, membership: after }) => {
    return { userId, local, before: turn.member(userId)?.membership, after };
  }),
});

/** The changes of the room's state as it is kept in memory. */
const resolvedChanges = (
  { events }: Tools,
  turn: ReceivingTurn,
  own: StoredEvent,
  changes: readonly StateChange[],
  { names, stateEvent, membership: membershipAt }: Pick<ReceivedPlan, 'names' | 'stateEvent' | 'membership'>,
): ResolvedChanges => {
  const state = new Map<string, StateSlot | undefined>();
  const members: Member[] = [];
  for (const { event: nid, isMember, skey } of changes) {
    const { type, stateKey } = names.stateKeyNames(skey);
    if (!isMember) {
      const event = nid === own.nid ? own : stateEvent(nid);
      state.set(stateMapKey(type, stateKey), event === undefined ? undefined : { skey, event });
      continue;
    }
    const before = turn.member(stateKey);
    const said = membershipAt(nid === own.nid ? OWN_EVENT : nid);
    const membership = said ?? 'leave';
    const goesOn = before?.membership === membership;
    members.push({
      userId: stateKey,
      user: names.user(stateKey),
      membership,
      event: said === undefined ? 0 : nid,
      since: goesOn ? before.since : own.nid,
      local: events.isLocal(stateKey),
      forgotten: goesOn && before.forgotten,
    });
  }
  return { state, members };
};
