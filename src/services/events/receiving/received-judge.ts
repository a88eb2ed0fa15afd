import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { type IdentifiedPdu, redactionTarget } from '#src/protocol/events/pdu.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { ReceivedChecks } from '#src/services/events/policy/received-checks.ts';
import { identified } from '#src/services/room-model/event/identified-event.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChange } from '#src/services/room-model/state/state-chain.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { type StateBefore, withEntries } from './received-state.ts';
import { foreignAuth, judgeReceived, type Verdict } from './received-verdict.ts';
import type { ReceivingTurn } from './receiving-turn.ts';
import { heldBackRedaction } from './redaction-verdict.ts';

export interface ReceivedJudgeOptions {
  readonly interner: Interner;
  readonly loader: EventLoader;
  /** Policy servers and the moderation tool. Left out: no checks. */
  readonly policies?: Pick<ReceivedChecks, 'mayConcern' | 'prepare' | 'verdictOn'>;
}

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

/** What became of an event at the checks. */
export interface JudgedEvent extends JudgedRedaction {
  /** With the signature of the policy server, if one has signed it. */
  readonly incoming: IdentifiedPdu;
  /** The state before it by which it was judged. */
  readonly before: StateBefore;
}

/**
 * Judges remote events: by the authorization rules, by the room's policy server, and redactions by what they name. Server-Server API, "Checks
 * performed on receipt of a PDU".
 */
export class ReceivedJudge {
  readonly #options: ReceivedJudgeOptions;

  constructor(options: ReceivedJudgeOptions) {
    this.#options = options;
  }

  /**
   * @param auth the events that its auth_events name
   * @param stateBefore by its prev_events
   * @returns undefined when it is not known yet what the policy server says
   */
  async judge(
    turn: ReceivingTurn,
    given: IdentifiedPdu,
    auth: readonly StoredEvent[],
    stateBefore: StateBefore,
    isPartial: boolean,
  ): Promise<JudgedEvent | undefined> {
    const { room } = turn;
    const { interner } = this.#options;
    const claimed = isPartial ? await this.#claimed(room, given, auth, stateBefore) : [];
    const believed = withEntries(stateBefore, claimed);
    const create = await turn.create();
    const byRules =
      foreignAuth(turn, given) ??
      (await judgeReceived({ interner, loader: turn.loader }, room, given, auth, believed, create, claimed));
    const before = byRules.kind === 'rejected' ? stateBefore : believed;
    const byPolicy = this.#judgeByPolicy(room, given, byRules);
    if (byPolicy === undefined) return undefined;
    const { incoming } = byPolicy;
    return { incoming, before, ...(await this.#judgeRedaction(turn, incoming, byPolicy.verdict)) };
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

  /** The event that a redaction names. One that is on its way has to be written before it can be written anew. */
  async #redacted(turn: ReceivingTurn, { pdu }: IdentifiedPdu): Promise<StoredEvent | undefined> {
    const targetId = redactionTarget(turn.room.version, pdu);
    const place = targetId === undefined ? undefined : turn.place(targetId);
    if (targetId === undefined || place === undefined) return undefined;
    if (turn.isOnItsWay(place.nid)) await turn.settle();
    return this.#options.loader.byId(turn.room, targetId);
  }
}
