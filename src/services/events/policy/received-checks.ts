import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { Gate } from '#src/kernel/limits/gate.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { SpamChecks } from '#src/services/policy/callbacks/spam-checks.ts';
import { shownEvent } from '#src/services/policy/gate/policy-gate.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { PolicyServers, PolicyVerdict } from './policy-servers.ts';

/** Verdicts that are remembered until their events are in their rooms. */
const MAX_VERDICTS = 10_000;
/** Events of other servers about which is asked at the same time. */
const ASKING = 32;

const CHECK = 'check_event_for_spam';

/**
 * Checks remote events before they are accepted, by the room's policy server and the moderation tool of this
 * server. What either refuses is soft-failed.
 */
export class ReceivedChecks {
  readonly #servers: PolicyServers;
  readonly #checks: SpamChecks;
  /** By event: why it is refused, or null. */
  readonly #verdicts = new LRUCache<string, { readonly reason: string | null }>(atMost(MAX_VERDICTS));
  readonly #asking = new Gate(ASKING);

  constructor(servers: PolicyServers, checks: SpamChecks) {
    this.#servers = servers;
    this.#checks = checks;
  }

  /** Whether anything is asked about events of the room. */
  mayConcern(room: Room): boolean {
    return this.#servers.mayConcern(room) || this.#checks.isOn(CHECK);
  }

  /** Asks about events. What is said is remembered for `verdictOn`. */
  async prepare(room: Room, events: readonly IdentifiedPdu[], signal?: AbortSignal): Promise<void> {
    if (this.#servers.mayConcern(room)) await this.#servers.prepare(room, events, signal);
    if (!this.#checks.isOn(CHECK)) return;
    const open = events.filter(({ eventId }) => !this.#verdicts.has(eventId));
    await Promise.all(open.map((event) => this.#asking.run(() => this.#ask(room, event, signal))));
  }

  /** What is said of an event; undefined when it has to be prepared first. */
  verdictOn(room: Room, event: IdentifiedPdu): PolicyVerdict | undefined {
    const byServer = this.#servers.mayConcern(room)
      ? this.#servers.verdictOn(room, event)
      : ({ isRecommended: true, pdu: event.pdu } as const);
    if (byServer?.isRecommended !== true || !this.#checks.isOn(CHECK)) return byServer;
    const known = this.#verdicts.get(event.eventId);
    if (known === undefined) return undefined;
    return known.reason === null ? byServer : { isRecommended: false, reason: known.reason };
  }

  async #ask(room: Room, { eventId, pdu }: IdentifiedPdu, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) return;
    const refusal = await this.#checks.ask(CHECK, { event: shownEvent(eventId, room.roomId, pdu) });
    const reason = refusal === undefined ? null : `The moderation tool of this server refuses it: ${refusal.message}`;
    this.#verdicts.set(eventId, { reason });
  }
}
