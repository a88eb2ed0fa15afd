import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { type IdentifiedPdu, redactionTarget, referencedIds } from '#src/protocol/events/pdu.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { ReceivedChecks } from '#src/services/events/policy/received-checks.ts';
import type { StateEntries } from '#src/services/events/resolution/state-entries.ts';
import type { StateMerger } from '#src/services/events/resolution/state-merger.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Names } from '#src/storage/room-model/names.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { NotificationClassifier } from '#src/services/events/building/notification-class.ts';
import { ReceivedJudge } from './received-judge.ts';
import { queueReceived } from './received-plan.ts';
import { ReceivedPlanner } from './received-planner.ts';
import type { Reception } from './reception.ts';
import type { StateReset } from './state-reset.ts';
import type { LateRedactions } from './late-redactions.ts';
import { OutlierStore } from './outlier-store.ts';
import { isOutlier, isReplaceable, type Place, ReceivingTurn } from './receiving-turn.ts';
import { relationOf, type StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { aclDenial } from '#src/services/room-model/room/compiled-acl.ts';

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
  readonly #judge: ReceivedJudge;
  readonly #planner: ReceivedPlanner;

  constructor(options: EventReceiverOptions) {
    this.#options = options;
    this.#outliers = new OutlierStore(options);
    this.#judge = new ReceivedJudge(options);
    this.#planner = new ReceivedPlanner(options);
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
   * @param isOver whether the others are left for later, asked after each of them; never when left out
   * @returns what became of each, in the same order, of the first of them where it was over before the last; when one is refused by the database it throws, and those before it are committed
   */
  receiveMany(
    room: Room,
    incoming: readonly IdentifiedPdu[],
    origin?: string | readonly string[],
    isOver?: () => boolean,
  ): Promise<readonly Reception[]> {
    return this.#receiveAll(room, incoming, origin, 0, isOver);
  }

  #receiveAll(
    room: Room,
    incoming: readonly IdentifiedPdu[],
    origin: string | readonly string[] | undefined,
    flags: number,
    isOver: () => boolean = () => false,
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
        if (isOver()) break;
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
      const statesBefore = await Promise.all(states.map((ids) => turn.entriesOf(ids)));
      const reception = await this.#receive(turn, incoming, 0, statesBefore);
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
   * @param statesBefore states after those prev_events that are not here: without any, all of these have to be here
   * @param isAnew it may be here as one that was refused
   */
  async #receive(
    turn: ReceivingTurn,
    given: IdentifiedPdu,
    flags: number,
    statesBefore?: readonly StateEntries[],
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
    // What is in another room never comes to this one.
    const missingAuth = authIds.filter((id) => turn.place(id) === undefined && !turn.isInOtherRoom(id));
    // The state at an outlier is not known here, and without it none after it: the history before it is gone, or never came.
    const missingPrev = prevIds.filter((id) => isMissing(turn.place(id)));
    const { partial } = room;
    // What happened beside the join begins where that does.
    const isBesideJoin =
      statesBefore === undefined &&
      missingPrev.length > 0 &&
      missingPrev.every((id) => partial?.before.has(id) === true);
    if (missingAuth.length > 0 || (statesBefore === undefined && missingPrev.length > 0 && !isBesideJoin))
      return {
        outcome: 'missing',
        ids: [...new Set([...(statesBefore === undefined && !isBesideJoin ? missingPrev : []), ...missingAuth])],
      };
    const positions = (ids: readonly string[]): number[] => ids.flatMap((id) => turn.place(id)?.nid ?? []);
    const prev = await turn.events(positions(prevIds.filter((id) => !missingPrev.includes(id))));
    const auth = await turn.events(positions(authIds));
    const names = await this.#names(given);
    const stateBefore = await turn.around.before(room, prev, statesBefore, isBesideJoin ? partial?.state : undefined);
    const judged = await this.#judge.judge(turn, given, auth, stateBefore, partial !== undefined);
    if (judged === undefined) return { outcome: 'missing', ids: [] };
    const { verdict } = judged;
    if (wasRefused && verdict.kind !== 'accepted') return { outcome: 'known' };
    // Others stand on an outlier that its auth events allow. They must not fall because a server that sends it once more tells another state, or
    // none: m.room.create comes after nothing. What fails against the room's own state is rejected, so that others can be built on it.
    const isGoodOutlier = known !== undefined && isReplaceable(known) && (known.flags & EVENT_FLAGS.rejected) === 0;
    const isStateDoubtful = statesBefore !== undefined || partial !== undefined || prevIds.length === 0;
    if (isGoodOutlier && isStateDoubtful && verdict.kind === 'rejected') return { outcome: 'known' };
    const plan = await this.#planner.plan(turn, {
      ...judged,
      names,
      prev,
      auth,
      missingPrev,
      flags,
      replaced: isReplaced ? known.nid : undefined,
    });
    const { event, written } = queueReceived(this.#options, turn, plan);
    written.catch(() => undefined);
    return verdict.kind === 'accepted'
      ? { outcome: 'accepted', event }
      : { outcome: verdict.kind, event, reason: verdict.reason };
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

/** Flags of events that were received and are not shown. */
const REFUSED = EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed;

/** How often a policy server is asked about an event when the room changes it meanwhile. */
const POLICY_ATTEMPTS = 3;

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
