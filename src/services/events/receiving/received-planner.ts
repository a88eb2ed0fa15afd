import { setImmediate } from 'node:timers/promises';
import type { Clock } from '#src/kernel/clock.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { type IdentifiedPdu, referencedIds } from '#src/protocol/events/pdu.ts';
import { stickyUntil } from '#src/protocol/events/sticky.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { NotificationClassifier } from '#src/services/events/building/notification-class.ts';
import { prepareRedaction } from '#src/services/events/building/redacting.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { relationOf, type StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { withoutUnsigned } from '#src/services/room-model/event/stored-json.ts';
import { MAX_EXTREMITIES } from '#src/services/room-model/room/building-head.ts';
import { type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChange } from '#src/services/room-model/state/state-chain.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Names } from '#src/storage/room-model/names.ts';
import type { LateRedactions } from './late-redactions.ts';
import type { JudgedEvent } from './received-judge.ts';
import type { ReceivedPlan } from './received-plan.ts';
import { OWN_EVENT } from './received-state.ts';
import type { Verdict } from './received-verdict.ts';
import { isOutlier, type ReceivingTurn } from './receiving-turn.ts';

/** State events that are accepted without a pause. */
const SLICE = 250;

/** How far back a run of soft-failed and rejected events is followed. */
const HIDDEN_STEPS = 20;

/** A judged event, and what was read for it. */
export interface EventToPlan extends JudgedEvent {
  readonly names: Names;
  readonly prev: readonly StoredEvent[];
  readonly auth: readonly StoredEvent[];
  /** Its prev_events that are missing, or stored without their history. */
  readonly missingPrev: readonly string[];
  /** What is remembered of it if it is accepted. */
  readonly flags: number;
  /** Position of its stored copy, as an outlier or rejected event. */
  readonly replaced: number | undefined;
}

export interface ReceivedPlannerOptions {
  readonly interner: Interner;
  readonly classifier: NotificationClassifier;
  readonly events: EventService;
  readonly clock: Clock;
  /** Redactions that came before what they redact. Left out: there are none. */
  readonly lateRedactions?: Pick<LateRedactions, 'await' | 'of'>;
}

/** Works out what a judged remote event does to its room: state, forward extremities, redactions, stickiness. */
export class ReceivedPlanner {
  readonly #options: ReceivedPlannerOptions;

  constructor(options: ReceivedPlannerOptions) {
    this.#options = options;
  }

  /** Computes the changes that the event makes to its room. All reads happen here. */
  async plan(turn: ReceivingTurn, judged: EventToPlan): Promise<ReceivedPlan> {
    const { incoming, names, prev, auth, before, verdict, missingPrev, target, awaitedRedaction, isHeldBack } = judged;
    const { room } = turn;
    const { classifier, interner } = this.#options;
    const { pdu } = incoming;
    const isAccepted = verdict.kind === 'accepted';
    const own: StateChange | undefined =
      pdu.state_key === undefined || verdict.kind === 'rejected'
        ? undefined
        : {
            skey: names.stateKey(pdu.type, pdu.state_key),
            event: OWN_EVENT,
            isMember: pdu.type === 'm.room.member',
          };
    const superseded = isAccepted ? await this.#superseded(turn, prev) : new Set<number>();
    const others = room.head.extremities.filter((event) => !superseded.has(event.nid));
    const isExtremity = isAccepted && others.length < MAX_EXTREMITIES;
    const { changes, isAfterEvent } = isExtremity
      ? await turn.around.afterwards(room, { incoming, auth, before, own }, others)
      : { changes: [], isAfterEvent: false };
    const replacedNid = own === undefined ? undefined : before.get(own.skey);
    const { events, memberships } = await this.#stateEvents(turn, changes);
    const [replaced] = replacedNid === undefined ? [] : await turn.events([replacedNid]);
    const late = isAccepted ? await this.#options.lateRedactions?.of(room, [incoming]) : undefined;
    names.with(await interner.named({ stateKeys: changes.map((change) => change.skey) }));
    const members = changes.filter((change) => change.isMember);
    names.with(await interner.ensure({ users: members.map(({ skey }) => names.stateKeyNames(skey).stateKey) }));
    await classifier.prepare(room, isAccepted ? [pdu] : []);
    if (pdu.type === 'm.room.member') memberships.set(OWN_EVENT, membershipIn(pdu.content));
    const positionOf = (eventId: string): number | undefined => turn.place(eventId)?.nid;
    return {
      incoming,
      names,
      json: canonicalJson(withoutUnsigned(pdu), 'lenient'),
      flags: this.#flags(turn, judged, own !== undefined),
      isAccepted,
      isExtremity,
      prev,
      auth,
      replaced,
      branch: before.branch,
      toBefore: before.toBefore,
      own,
      others,
      changes,
      isAfterEvent,
      stateEvent: (nid) => events.get(nid),
      membership: (nid) => memberships.get(nid),
      positionOf,
      missingPrev,
      replacedPosition: judged.replaced,
      awaitedRedaction,
      redactedBy: late?.get(incoming.eventId)?.[0],
      redaction: (event) =>
        target === undefined ? undefined : prepareRedaction(room, event, target, room.powerLevels()),
      // The state of the room does not change what it names.
      stickyUntil: isHeldBack === true ? undefined : await this.#stickyUntil(room, pdu, verdict),
    };
  }

  #flags(turn: ReceivingTurn, { incoming, verdict, missingPrev, flags: more }: EventToPlan, isState: boolean): number {
    const relation = relationOf(incoming.pdu.content);
    const isThreaded = relation?.relType === 'm.thread' && !turn.isInOtherRoom(relation.eventId);
    let flags = isState ? EVENT_FLAGS.state : 0;
    if (verdict.kind === 'accepted') flags |= more;
    if (verdict.kind === 'rejected') flags |= EVENT_FLAGS.rejected;
    if (verdict.kind === 'soft-failed') flags |= EVENT_FLAGS.softFailed;
    if (isThreaded) flags |= EVENT_FLAGS.threaded;
    if (missingPrev.length > 0) flags |= EVENT_FLAGS.afterGap;
    return flags;
  }

  /** When the event stops being sticky, if it is now. Of one sender only so many stick in a room: what comes beyond is an ordinary event. */
  async #stickyUntil(room: Room, pdu: IdentifiedPdu['pdu'], verdict: Verdict): Promise<number | undefined> {
    const now = this.#options.clock.now();
    const until = stickyUntil(pdu, now);
    if (until === undefined || until <= now || verdict.kind === 'rejected') return undefined;
    // State that is soft-failed gets its chance by state resolution.
    if (verdict.kind === 'soft-failed' && pdu.state_key !== undefined) return undefined;
    return (await this.#options.events.sticky.isFull(room, pdu.sender)) ? undefined : until;
  }

  /**
   * The forward extremities that an event with these prev_events replaces. Soft-failed and rejected events are none
   * themselves: what comes after one comes after its prev_events, unless its state came from another server and was not computed from them.
   */
  async #superseded(turn: ReceivingTurn, prev: readonly StoredEvent[]): Promise<ReadonlySet<number>> {
    const found = new Set(prev.map((event) => event.nid));
    let hidden = prev.filter(isHidden);
    for (let step = 0; step < HIDDEN_STEPS && hidden.length > 0; step++) {
      const ids = hidden.flatMap((event) => referencedIds(event.pdu.prev_events));
      await turn.lookUp(ids);
      const nids = ids.flatMap((id) => {
        const place = turn.place(id);
        return place === undefined || isOutlier(place) ? [] : place.nid;
      });
      const earlier = await turn.events(nids.filter((nid) => !found.has(nid)));
      for (const event of earlier) found.add(event.nid);
      hidden = earlier.filter(isHidden);
    }
    return found;
  }

  /**
   * What a change of state names, read and parsed a few at a time: a large fork must not hold other requests up. Of member events only what
   * they say is kept.
   */
  async #stateEvents(
    turn: ReceivingTurn,
    changes: readonly StateChange[],
  ): Promise<{ readonly events: Map<number, StoredEvent>; readonly memberships: Map<number, Membership> }> {
    const events = new Map<number, StoredEvent>();
    const memberships = new Map<number, Membership>();
    const stored = changes.filter(({ event }) => event !== OWN_EVENT && event !== 0);
    for (let at = 0; at < stored.length; at += SLICE) {
      if (at > 0) await setImmediate();
      const slice = stored.slice(at, at + SLICE);
      const loaded = new Map((await turn.events(slice.map(({ event }) => event))).map((event) => [event.nid, event]));
      for (const { event: nid, isMember } of slice) {
        const event = loaded.get(nid);
        if (event === undefined) continue;
        if (isMember) memberships.set(nid, membershipIn(event.content));
        else if (event.pdu !== undefined) events.set(nid, event);
      }
    }
    return { events, memberships };
  }
}

/** Whether the event is hidden from clients, and the state after it comes from the states after all its prev_events. */
const isHidden = ({ flags }: StoredEvent): boolean =>
  (flags & (EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed)) !== 0 && (flags & EVENT_FLAGS.afterGap) === 0;
