import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '#src/kernel/clock.ts';
import { type IdentifiedPdu, redactionTarget, referencedIds } from '#src/protocol/events/pdu.ts';
import { stickyUntil } from '#src/protocol/events/sticky.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';
import { MAX_EXTREMITIES } from '#src/services/room-model/room/building-head.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { ReceivedChecks } from '#src/services/events/policy/received-checks.ts';
import type { StateChange } from '#src/services/room-model/state/state-chain.ts';
import type { StateEntries, StateMerger } from '#src/services/events/resolution/state-merger.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner, Names } from '#src/storage/room-model/interner.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { NotificationClassifier } from '#src/services/events/building/notification-class.ts';
import { queueReceived, type ReceivedPlan } from './received-plan.ts';
import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { OWN_EVENT, type StateBefore, withEntries } from './received-state.ts';
import type { Reception } from './reception.ts';
import type { StateReset } from './state-reset.ts';
import { withoutUnsigned } from '#src/services/room-model/event/stored-json.ts';
import type { LateRedactions } from './late-redactions.ts';
import { OutlierStore } from './outlier-store.ts';
import { isOutlier, isReplaceable, type Place, ReceivingTurn } from './receiving-turn.ts';
import { judgeReceived, type Verdict } from './received-verdict.ts';
import { heldBackRedaction } from './redaction-verdict.ts';
import { identified } from '#src/services/events/resolution/state-merger.ts';
import { prepareRedaction } from '#src/services/events/building/redacting.ts';
import { relationOf, type StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { aclDenial } from '#src/services/room-model/room/compiled-acl.ts';

export type { Reception } from './reception.ts';

export interface EventReceiverOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly merger: StateMerger;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly classifier: NotificationClassifier;
  readonly events: EventService;
  readonly clock: Clock;
  /** Policy servers and the moderation tool. Left out: no checks. */
  readonly policies?: Pick<ReceivedChecks, 'mayConcern' | 'prepare' | 'verdictOn'>;
  /** Redactions that came before what they redact. Left out: there are none. */
  readonly lateRedactions?: Pick<LateRedactions, 'await' | 'of'>;
  /** Called on a state reset: state resolution undid joins or power levels. */
  readonly onReset?: (room: Room, event: StoredEvent, reset: StateReset) => void;
}

/**
 * Accepts remote events: they may lie on forks of the room's history. Format, hashes and signatures have been
 * checked by then. Server-Server API, "Checks performed on receipt of a PDU".
 */
export class EventReceiver {
  readonly #options: EventReceiverOptions;
  readonly #outliers: OutlierStore;

  constructor(options: EventReceiverOptions) {
    this.#options = options;
    this.#outliers = new OutlierStore(options);
  }

  /**
   * Accepts one event. Meanwhile nothing is built on the room's head.
   *
   * @param origin the server that sent it of its own accord (not always the one where it was made): "ACLs MUST be applied to all PDUs on a
   *   per-PDU basis". Server-Server API, "Server Access Control Lists". Undefined for what was asked for.
   * @param isSentOn this server sends it to the others in the room, if it accepts it: its sender's server is not in it
   */
  async receive(room: Room, incoming: IdentifiedPdu, origin?: string, isSentOn = false): Promise<Reception> {
    return this.#prepared(room, incoming, async () => {
      const [reception] = await this.#receiveAll(room, [incoming], origin, isSentOn ? EVENT_FLAGS.sentOn : 0);
      if (reception === undefined) throw new Error('an event was received and nothing became of it');
      return reception;
    });
  }

  /**
   * Accepts events one after the other, in the given order, in few commits: one where none of them changes the room's rules. Policy servers
   * are not asked: what they say has been prepared by then, or the event is missing something.
   *
   * @param origin as for `receive`; of each of them, where they come from several
   * @returns what became of each, in the same order; when one is refused by the database it throws, and those before it are committed
   */
  receiveMany(
    room: Room,
    incoming: readonly IdentifiedPdu[],
    origin?: string | readonly string[],
  ): Promise<readonly Reception[]> {
    return this.#receiveAll(room, incoming, origin, 0);
  }

  #receiveAll(
    room: Room,
    incoming: readonly IdentifiedPdu[],
    origin: string | readonly string[] | undefined,
    flags: number,
  ): Promise<readonly Reception[]> {
    return this.#exclusively(room, async (turn) => {
      await turn.lookUp(incoming.flatMap((one) => namedIds(room, one)));
      const receptions: Reception[] = [];
      for (const [index, one] of incoming.entries()) {
        await turn.ready();
        const sender = typeof origin === 'object' ? origin[index] : origin;
        receptions.push(
          sender !== undefined && !room.allowsServer(sender)
            ? { outcome: 'denied', reason: aclDenial(sender) }
            : await this.#receive(turn, one, flags),
        );
      }
      await turn.settle();
      return receptions;
    });
  }

  /**
   * Accepts an event of whose prev_events not all are here: after a gap, or the first one of a room. Those that are missing become backward
   * extremities, and sync shows nothing from before it together with it.
   *
   * @param stateBefore ids of the state events before it, as another server told them; all of them have to be here
   * @param others more such states, where prev_events of it on different branches are missing: they are resolved
   */
  receiveAt(
    room: Room,
    incoming: IdentifiedPdu,
    stateBefore: readonly string[],
    others: readonly (readonly string[])[] = [],
  ): Promise<Reception> {
    const work = async (turn: ReceivingTurn): Promise<Reception> => {
      const states = [stateBefore, ...others];
      await turn.lookUp([...namedIds(room, incoming), ...states.flat()]);
      const missing = states.flat().filter((id) => turn.place(id) === undefined);
      if (missing.length > 0) return { outcome: 'missing', ids: [...new Set(missing)] };
      const told = await Promise.all(states.map((ids) => turn.entriesOf(ids)));
      const reception = await this.#receive(turn, incoming, 0, told);
      await turn.settle();
      return reception;
    };
    return this.#prepared(room, incoming, () => this.#exclusively(room, work));
  }

  /**
   * Judges an event anew that was rejected or soft-failed by less than is known now. If it is accepted, it comes into the timeline now, under a
   * new position; otherwise nothing changes.
   *
   * @returns `known` where nothing changes
   */
  reconsider(room: Room, incoming: IdentifiedPdu): Promise<Reception> {
    const work = async (turn: ReceivingTurn): Promise<Reception> => {
      await turn.lookUp(namedIds(room, incoming));
      const reception = await this.#receive(turn, incoming, 0, undefined, true);
      await turn.settle();
      return reception;
    };
    return this.#prepared(room, incoming, () => this.#exclusively(room, work));
  }

  /** Asks the room's policy server before the room is taken; again where another one came to be the room's meanwhile. */
  async #prepared(room: Room, incoming: IdentifiedPdu, work: () => Promise<Reception>): Promise<Reception> {
    const { policies } = this.#options;
    for (let attempt = 1; ; attempt++) {
      if (policies?.mayConcern(room) === true) await policies.prepare(room, [incoming]);
      const reception = await work();
      const isUnprepared = reception.outcome === 'missing' && reception.ids.length === 0;
      if (!isUnprepared || attempt === POLICY_ATTEMPTS) return reception;
    }
  }

  /**
   * Stores events without their ancestors: auth chains, and the states at gaps. They are judged by their auth events alone; what these do not
   * allow is kept as rejected. Nobody is shown them, and the room does not change.
   *
   * @returns what became of each: `missing` names auth events that are neither here nor among them, `known` is what was here
   */
  storeOutliers(room: Room, events: readonly IdentifiedPdu[]): Promise<ReadonlyMap<string, Reception>> {
    return this.#outliers.store(room, events);
  }

  #exclusively<T>(room: Room, work: (turn: ReceivingTurn) => Promise<T>): Promise<T> {
    return room.turns.exclusively(async () => {
      while (room.isAhead) await this.#options.writer.nextBatch();
      const turn = new ReceivingTurn(this.#options, room);
      try {
        return await work(turn);
      } catch (error) {
        // Nobody builds on the head before it is known what became of what was queued.
        await turn.settle().catch(() => undefined);
        throw error;
      }
    });
  }

  /**
   * @param flags what is remembered of the event if it is accepted
   * @param told states after those prev_events that are not here: without any, all of these have to be here
   * @param isAnew it may be here as one that was refused
   */
  async #receive(
    turn: ReceivingTurn,
    given: IdentifiedPdu,
    flags: number,
    told?: readonly StateEntries[],
    isAnew = false,
  ): Promise<Reception> {
    const { room } = turn;
    const { pdu } = given;
    const known = turn.place(given.eventId);
    const wasRefused = isAnew && known !== undefined && (known.flags & REFUSED) !== 0;
    const isReplaced = known !== undefined && (isReplaceable(known) || wasRefused);
    if (known !== undefined && !isReplaced) return { outcome: 'known' };
    const prevIds = referencedIds(pdu.prev_events);
    const authIds = referencedIds(pdu.auth_events);
    const missingAuth = authIds.filter((id) => turn.place(id) === undefined);
    // The state at an outlier is not known here, and without it none after it: the history before it is gone, or never came.
    const missingPrev = prevIds.filter((id) => isMissing(turn.place(id)));
    const { partial } = room;
    // What happened beside the join begins where that does.
    const isBesideJoin =
      told === undefined && missingPrev.length > 0 && missingPrev.every((id) => partial?.before.has(id) === true);
    if (missingAuth.length > 0 || (told === undefined && missingPrev.length > 0 && !isBesideJoin))
      return {
        outcome: 'missing',
        ids: [...new Set([...(told === undefined && !isBesideJoin ? missingPrev : []), ...missingAuth])],
      };
    const positions = (ids: readonly string[]): number[] => ids.map((id) => turn.place(id)?.nid ?? 0);
    const prev = await turn.events(positions(prevIds.filter((id) => !missingPrev.includes(id))));
    const auth = await turn.events(positions(authIds));
    const names = await this.#names(given);

    const stateBefore = await turn.around.before(room, prev, told, isBesideJoin ? partial?.state : undefined);
    const claimed = partial === undefined ? [] : await this.#claimed(room, given, auth, stateBefore);
    const believed = withEntries(stateBefore, claimed);
    const { interner } = this.#options;
    const create = await turn.create();
    const byRules = await judgeReceived(
      { interner, loader: turn.loader },
      room,
      given,
      auth,
      believed,
      create,
      claimed,
    );
    const before = byRules.kind === 'rejected' ? stateBefore : believed;
    const byPolicy = this.#judgeByPolicy(room, given, byRules);
    if (byPolicy === undefined) return { outcome: 'missing', ids: [] };
    const { incoming } = byPolicy;
    const { verdict, ...redaction } = await this.#judgeRedaction(turn, incoming, byPolicy.verdict);
    if (wasRefused && verdict.kind !== 'accepted') return { outcome: 'known' };
    const plan = await this.#plan(turn, {
      incoming,
      names,
      prev,
      auth,
      before,
      verdict,
      missingPrev,
      flags,
      replaced: isReplaced ? known.nid : undefined,
      ...redaction,
    });
    const { event, written } = queueReceived(this.#options, turn, plan);
    written.catch(() => undefined);
    return verdict.kind === 'accepted'
      ? { outcome: 'accepted', event }
      : { outcome: verdict.kind, event, reason: verdict.reason };
  }

  /**
   * In a room whose state is not whole, memberships that are not known are what the event names as such: it is judged again when they are.
   *
   * @returns the entries that the state before the event does not have
   */
  async #claimed(
    room: Room,
    { pdu }: IdentifiedPdu,
    auth: readonly StoredEvent[],
    before: StateBefore,
  ): Promise<readonly StateChange[]> {
    const wanted = new Set(
      authEventKeysFor(room.version, pdu).flatMap(([type, stateKey]) => (type === MEMBER ? [stateKey] : [])),
    );
    const named = auth.filter(
      ({ flags, stateKey, type }) =>
        type === MEMBER && stateKey !== undefined && wanted.has(stateKey) && (flags & EVENT_FLAGS.rejected) === 0,
    );
    if (named.length === 0) return [];
    const keys = named.map(({ stateKey = '' }) => ({ type: MEMBER, stateKey }));
    const names = await this.#options.interner.ensure({ stateKeys: keys });
    return named.flatMap(({ nid, stateKey = '' }) => {
      const skey = names.stateKey(MEMBER, stateKey);
      return before.get(skey) === undefined ? { skey, event: nid, isMember: true } : [];
    });
  }

  /**
   * "Is validated by the Policy Server, if the room is using a Policy Server, otherwise it is 'soft failed'."
   *
   * @returns undefined when it is not known yet what the policy server says
   */
  #judgeByPolicy(
    room: Room,
    incoming: IdentifiedPdu,
    verdict: Verdict,
  ): { readonly incoming: IdentifiedPdu; readonly verdict: Verdict } | undefined {
    const { policies } = this.#options;
    if (verdict.kind !== 'accepted' || policies?.mayConcern(room) !== true) return { incoming, verdict };
    const said = policies.verdictOn(room, incoming);
    if (said === undefined) return undefined;
    return said.isRecommended
      ? { incoming: { ...incoming, pdu: said.pdu }, verdict }
      : { incoming, verdict: { kind: 'soft-failed', reason: said.reason } };
  }

  /** A redaction that would not be carried out is not shown either. */
  async #judgeRedaction(turn: ReceivingTurn, incoming: IdentifiedPdu, verdict: Verdict): Promise<JudgedRedaction> {
    if (verdict.kind !== 'accepted' || incoming.pdu.type !== 'm.room.redaction') return { verdict };
    const { room } = turn;
    const id = redactionTarget(room.version, incoming.pdu);
    const isInOtherRoom = id !== undefined && turn.isInOtherRoom(id);
    const target = await this.#redacted(turn, incoming);
    const heldBack = heldBackRedaction(
      room,
      incoming,
      target === undefined ? undefined : identified(target),
      isInOtherRoom,
    );
    if (heldBack !== undefined)
      return {
        verdict: { kind: 'soft-failed', reason: heldBack.reason },
        isHeldBack: true,
        awaitedRedaction: heldBack.awaited,
      };
    // Before v3 it is shown whether or not the event is here.
    return { verdict, target, awaitedRedaction: target === undefined && !isInOtherRoom ? id : undefined };
  }

  /** Works out what the event does to the room. Everything that has to be read is read here. */
  async #plan(turn: ReceivingTurn, judged: Judged): Promise<ReceivedPlan> {
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

  #flags(turn: ReceivingTurn, { incoming, verdict, missingPrev, flags: more }: Judged, isState: boolean): number {
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

  /** The event that a redaction names. One that is on its way has to be written before it can be written anew. */
  async #redacted(turn: ReceivingTurn, { pdu }: IdentifiedPdu): Promise<StoredEvent | undefined> {
    const targetId = redactionTarget(turn.room.version, pdu);
    const place = targetId === undefined ? undefined : turn.place(targetId);
    if (targetId === undefined || place === undefined) return undefined;
    if (turn.isOnItsWay(place.nid)) await turn.settle();
    return this.#options.loader.byId(turn.room, targetId);
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

  #names({ pdu: { content, sender, state_key: stateKey, type } }: IdentifiedPdu): Promise<Names> {
    const relation = relationOf(content);
    return this.#options.interner.ensure({
      types: relation === undefined ? [type] : [type, relation.relType],
      users: [sender],
      stateKeys: stateKey === undefined ? [] : [{ type, stateKey }],
    });
  }
}

const MEMBER = 'm.room.member';

/** Flags of events that were received and are not shown. */
const REFUSED = EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed;

/** State events that are accepted without a pause. */
const SLICE = 250;

/** How often a policy server is asked about an event when the room changes it meanwhile. */
const POLICY_ATTEMPTS = 3;

/** How far back a run of soft-failed and rejected events is followed. */
const HIDDEN_STEPS = 20;

/** All ids that receiving an event asks for. */
const namedIds = (room: Room, { eventId, pdu }: IdentifiedPdu): readonly string[] => {
  const relation = relationOf(pdu.content);
  const redacted = pdu.type === 'm.room.redaction' ? redactionTarget(room.version, pdu) : undefined;
  return [
    eventId,
    ...referencedIds(pdu.prev_events),
    ...referencedIds(pdu.auth_events),
    ...(relation === undefined ? [] : [relation.eventId]),
    ...(redacted === undefined ? [] : [redacted]),
  ];
};

/** Whether an event cannot be built on: it is not here, or nothing is known of what lies before it. */
const isMissing = (place: Place | undefined): boolean => place === undefined || isOutlier(place);

/** Whether the event is hidden from clients, and the state after it comes from the states after all its prev_events. */
const isHidden = ({ flags }: StoredEvent): boolean =>
  (flags & (EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed)) !== 0 && (flags & EVENT_FLAGS.afterGap) === 0;

/** What becomes of an event that may be a redaction. */
interface JudgedRedaction {
  readonly verdict: Verdict;
  /** It is hidden because of what it names, although its sender may send it. */
  readonly isHeldBack?: boolean;
  /** What it is carried out on. */
  readonly target?: StoredEvent | undefined;
  /** What it redacts, where that is not here. */
  readonly awaitedRedaction?: string | undefined;
}

interface Judged extends JudgedRedaction {
  readonly incoming: IdentifiedPdu;
  readonly names: Names;
  readonly prev: readonly StoredEvent[];
  readonly auth: readonly StoredEvent[];
  readonly before: StateBefore;
  /** Those of its prev_events that are not here, or not with what lies before them. */
  readonly missingPrev: readonly string[];
  /** What is remembered of it if it is accepted. */
  readonly flags: number;
  /** Where it lies as an outlier, or as one that was refused. */
  readonly replaced: number | undefined;
}
