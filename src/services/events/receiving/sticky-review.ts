import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { redactionTarget } from '#src/protocol/events/pdu.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { type PreparedRedaction, prepareRedaction } from '#src/services/events/building/redacting.ts';
import { checkAgainst } from '#src/services/events/resolution/state-check.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { PolicyServers } from '#src/services/events/policy/policy-servers.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StickyEntry } from '#src/services/room-model/room/sticky-set.ts';
import { identified } from '#src/services/room-model/event/identified-event.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { tailRow } from '#src/services/room-model/room/tail-row.ts';

export interface StickyReviewOptions {
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly rooms: RoomRegistry;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly events: EventService;
  /** Left out: no room uses a policy server. */
  readonly policies?: Pick<PolicyServers, 'isSigned' | 'mayConcern'>;
}

/**
 * Judges soft-failed sticky events anew when the state that authorises them changes: "Re-evaluate soft-failure of soft-failed unexpired
 * sticky events when the authorising state of the sticky event changes." Those that are valid then are delivered by a position of their
 * own. MSC4354.
 */
export class StickyReview {
  readonly #options: StickyReviewOptions;
  /** The entries of the room's state by which an event was judged the last time. */
  readonly #basis = new WeakMap<StoredEvent, string>();

  constructor(options: StickyReviewOptions) {
    this.#options = options;
  }

  /** Judges those of a room. */
  async review(roomNid: number): Promise<void> {
    const { events, rooms, writer } = this.#options;
    const room = await rooms.byNid(roomNid);
    if (room === undefined || (await events.sticky.softFailed(room)).length === 0) return;
    await room.turns.exclusively(async () => {
      while (room.isAhead) await writer.nextBatch();
      for (const entry of await events.sticky.softFailed(room)) {
        const { event } = entry;
        const basis = await this.#basisOf(room, event);
        if (this.#basis.get(event) === basis) continue;
        const verdict = await checkAgainst(this.#options, room, identified(event), (skey) => room.stateChain.get(skey));
        if (verdict.ok && this.#isRecommended(room, event)) await this.#revive(room, entry);
        this.#basis.set(event, basis);
      }
    });
  }

  /** A room's policy server was asked when the event came. What it refused stays hidden. */
  #isRecommended(room: Room, event: StoredEvent): boolean {
    const { policies } = this.#options;
    return policies?.mayConcern(room) !== true || policies.isSigned(room, event.pdu);
  }

  /** The entries of the room's state that an event depends on. */
  async #basisOf(room: Room, event: StoredEvent): Promise<string> {
    const { interner } = this.#options;
    const keys = authEventKeysFor(room.version, event.pdu).map(([type, stateKey]) => ({ type, stateKey }));
    const names = await interner.find({ stateKeys: keys });
    return keys
      .map(({ type, stateKey }) => {
        const skey = names.peekStateKey(type, stateKey);
        return skey === undefined ? 0 : (room.stateChain.get(skey) ?? 0);
      })
      .join(' ');
  }

  async #revive(room: Room, { event, until }: StickyEntry): Promise<void> {
    const { events, loader, stream, writer } = this.#options;
    const { nid, shard } = room;
    const redaction = await this.#redaction(room, event);
    const pos = writer.allocate(shard);
    await writer.append({
      positions: [pos],
      events: {
        events: [],
        redactions: redaction === undefined ? [] : [redaction.row],
        jobs:
          redaction === undefined
            ? []
            : events.jobsAfter({ room, state: [], members: [], redacted: [redaction.target] }),
        revivals: [{ room: nid, event: event.nid, pos }],
        late: stream.lateRows(room, event),
        tails: [tailRow(room, pos)],
      },
      publish: () => {
        loader.peek(event.nid)?.accept();
        room.show(event, pos);
        redaction?.apply();
        events.sticky.committed(room, { event, pos, until });
        stream.publish({ kind: 'revealed', room, event });
      },
    });
  }

  async #redaction(room: Room, event: StoredEvent): Promise<PreparedRedaction | undefined> {
    const targetId = event.type === 'm.room.redaction' ? redactionTarget(room.version, event.pdu) : undefined;
    const target = targetId === undefined ? undefined : await this.#options.loader.byId(room, targetId);
    return prepareRedaction(room, event, target, room.powerLevels());
  }
}
