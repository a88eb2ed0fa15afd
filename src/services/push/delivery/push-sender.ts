import { Batches } from '#src/kernel/concurrency/batches.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import { writeAll } from '#src/kernel/concurrency/write-all.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { GatewayAnswer } from '#src/remote/push-gateway.ts';
import type { Batch, Outcome } from '#src/services/delivery/queue/ports.ts';
import { notificationActions } from '#src/services/push/notifications/notification-actions.ts';
import type { PusherRef, PusherRegistry } from '#src/services/push/pushers/pusher-registry.ts';
import { pusherData } from '#src/services/push/pushers/pusher-registry.ts';
import type { PusherRecord, PusherService } from '#src/services/push/pushers/pusher-service.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import type { BadgeCounts } from '#src/services/push/unread/badge-counts.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { isUnavailable } from '#src/storage/failures.ts';
import { saveSentCounts } from '#src/storage/push/pushers.ts';
import type { GatewayHealth } from './gateway-health.ts';
import type { PushItem } from './pending-pushes.ts';
import { countsNotification, eventNotification } from './push-notification.ts';

/** Steps that the evaluation of a user's rules may take for the actions of one event. */
const MAX_STEPS = 500_000;
const SAVED_AT_ONCE = 500;

/** Sends requests to push gateways. */
export interface Notifier {
  notify(url: string, notification: JsonObject, signal: AbortSignal): Promise<GatewayAnswer>;
}

export interface PushSenderOptions {
  readonly database: Database;
  readonly registry: PusherRegistry;
  readonly pushers: PusherService;
  readonly pushRules: PushRuleService;
  readonly badges: BadgeCounts;
  readonly loader: EventLoader;
  readonly gateways: Notifier;
  readonly health: GatewayHealth;
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly includeContent: boolean;
}

/** Sends one push to one pusher. */
export class PushSender {
  readonly #options: PushSenderOptions;
  readonly #sent: Counter;
  /** Counts that pushers were sent, still to be stored. One that is lost costs a notification without news. */
  readonly #sentCounts: Batches<readonly [destination: string, unread: number]>;
  /** Pushers with a running request: the count that they have is known once their gateway has answered. */
  readonly #telling = new Set<string>();

  constructor(options: PushSenderOptions) {
    this.#options = options;
    this.#sent = options.metrics.counter('tsudoi_pushes_total', 'notifications sent to push gateways, by outcome', [
      'what',
      'outcome',
    ]);
    const { database, logger } = options;
    this.#sentCounts = new Batches({
      name: 'push counts',
      most: SAVED_AT_ONCE,
      work: (told) =>
        writeAll(
          told,
          (some) =>
            saveSentCounts(database, new Map(some.map(([destination, unread]) => [Number(destination), unread]))),
          isUnavailable,
          (some, err) => logger.warn('unread counts sent to pushers could not be stored', { err, counts: some.length }),
        ),
    });
  }

  /** Resolves when everything is stored. */
  idle(): Promise<void> {
    return this.#sentCounts.idle();
  }

  readonly send = async (destination: string, { items }: Batch<PushItem>, signal: AbortSignal): Promise<Outcome> => {
    const { pushers, registry } = this.#options;
    const [item] = items;
    const ref = registry.byDestination(destination);
    const pusher = ref && (await pushers.byId(Number(destination)));
    if (item === undefined || ref === undefined || pusher === undefined) return { kind: 'gone' };
    // A locked user reads nothing by way of notifications either.
    if (pusher.isLocked) return { kind: 'done' };
    this.#telling.add(destination);
    try {
      return await this.#tell(ref, pusher, item, signal);
    } finally {
      this.#telling.delete(destination);
    }
  };

  /** Whether a request to a pusher is running, perhaps with another count than the last one. */
  isTelling(destination: string): boolean {
    return this.#telling.has(destination);
  }

  async #tell(ref: PusherRef, pusher: PusherRecord, item: PushItem, signal: AbortSignal): Promise<Outcome> {
    const { badges, registry } = this.#options;
    const unread = ref.wantsCounts ? await badges.of(ref.userId) : undefined;
    if (item.kind === 'counts') {
      if (unread === undefined || unread === registry.lastSentCountOf(ref.destination)) return { kind: 'done' };
      return this.#notify(ref, pusher, item.kind, countsNotification(pusher, unread), unread, signal);
    }
    const notification = await this.#ofEvent(pusher, item, unread);
    return this.#notify(ref, pusher, item.kind, notification, unread, signal);
  }

  async #ofEvent(
    pusher: PusherRecord,
    { room, event, exception }: PushItem & { readonly kind: 'event' },
    unread: number | undefined,
  ): Promise<JsonObject> {
    const { includeContent, pushRules } = this.#options;
    const { userId } = pusher;
    const rules = pushRules.peek(userId) ?? (await pushRules.rulesOf(userId));
    const actions = notificationActions(
      room,
      event,
      exception ?? null,
      { userId, displayName: await this.#displayName(room, userId) },
      pushRules.compiled(userId, rules),
      new StepBudget(MAX_STEPS),
    );
    const senderDisplayName = await this.#displayName(room, event.sender);
    return eventNotification(pusher, { room, event, actions, senderDisplayName }, unread, includeContent);
  }

  async #displayName(room: Room, userId: string): Promise<string | undefined> {
    const member = room.member(userId);
    const name = member && (await this.#options.loader.one(room, member.event))?.content['displayname'];
    return typeof name === 'string' && name !== '' ? name : undefined;
  }

  async #notify(
    ref: PusherRef,
    pusher: PusherRecord,
    what: PushItem['kind'],
    notification: JsonObject,
    unread: number | undefined,
    signal: AbortSignal,
  ): Promise<Outcome> {
    const { gateways, health, logger, pushers } = this.#options;
    const url = pusherData(pusher)['url'];
    const answer = await gateways.notify(typeof url === 'string' ? url : '', notification, signal);
    if (signal.aborted && answer.kind === 'unreachable') return { kind: 'retry' };
    health.note(ref.gateway, answer.kind !== 'unreachable');
    const outcome = answer.kind === 'taken' && answer.rejected.includes(pusher.pushkey) ? 'rejected' : answer.kind;
    this.#sent.inc({ what, outcome });
    if (answer.kind === 'taken') {
      if (outcome === 'rejected') {
        logger.info('a push gateway rejected a pushkey; its pusher is removed', { user_id: pusher.userId });
        await pushers.remove(pusher.id);
        return { kind: 'gone' };
      }
      if (unread !== undefined) this.#storeSentCount(ref.destination, unread);
      return { kind: 'done' };
    }
    logger.debug('a push gateway did not accept a notification', {
      gateway: ref.gateway,
      pusher: pusher.id,
      reason: answer.reason,
    });
    if (answer.kind === 'refused') return { kind: 'refused' };
    // A `retry_after` for one pusher does not concern the others.
    if (answer.kind === 'unreachable') return { kind: 'retry', isOfGroup: true };
    return answer.afterMs === undefined ? { kind: 'retry' } : { kind: 'retry', afterMs: answer.afterMs };
  }

  #storeSentCount(destination: string, unread: number): void {
    const { registry } = this.#options;
    if (registry.lastSentCountOf(destination) === unread) return;
    registry.setLastSentCount(destination, unread);
    this.#sentCounts.add([destination, unread]);
  }
}
