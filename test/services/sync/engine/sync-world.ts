import { parseFilter } from '#src/protocol/filters/parse-filter.ts';
import { decodeSyncToken } from '#src/protocol/wire/position.ts';
import type { SyncRequest } from '#src/services/sync/engine/sync-request.ts';
import type { Database } from '#src/storage/database.ts';
import { eventServices, type EventServices, type EventServicesOptions } from '#test/support/event-services.ts';

/** What a test does in the middle of a response. */
export interface Interposed {
  /** Once, after the rooms of a response are chosen and before they are read. */
  afterPlan?: () => Promise<unknown>;
}

export interface SyncWorld extends EventServices {
  readonly interposed: Interposed;
}

/** `eventServices`, with a section of sync in which a test may do something in the middle of a response. */
export async function syncWorld(database: Database, options: EventServicesOptions = {}): Promise<SyncWorld> {
  const interposed: Interposed = {};
  const services = await eventServices(database, {
    ...options,
    sections: () => [
      {
        name: 'interposed',
        open: () => ({
          prepare() {
            const { afterPlan } = interposed;
            delete interposed.afterPlan;
            return afterPlan?.().then(() => undefined);
          },
        }),
      },
    ],
  });
  return { ...services, interposed };
}

export interface ClientEvent {
  readonly event_id: string;
  readonly type: string;
  readonly sender: string;
  readonly state_key?: string;
  readonly content: { readonly membership?: string };
  readonly msc4354_sticky?: { readonly duration_ms: number };
  readonly unsigned?: { readonly msc4354_sticky_duration_ttl_ms?: number };
}

export interface RoomBody {
  readonly timeline: {
    readonly events: readonly ClientEvent[];
    readonly limited: boolean;
    readonly prev_batch: string;
  };
  readonly state?: { readonly events: readonly ClientEvent[] };
  readonly state_after?: { readonly events: readonly ClientEvent[] };
  readonly msc4354_sticky?: { readonly events: readonly ClientEvent[] };
}

export interface SyncBody {
  readonly next_batch: string;
  readonly rooms?: {
    readonly join?: Readonly<Record<string, RoomBody>>;
    readonly leave?: Readonly<Record<string, RoomBody>>;
    readonly invite?: Readonly<Record<string, unknown>>;
    readonly knock?: Readonly<Record<string, unknown>>;
  };
}

const filters = new Map<string, ReturnType<typeof parseFilter>>();

/** A request with what is usual filled in. */
export const syncRequest = (
  userId: string,
  since: string | undefined,
  room: object = {},
  more: Partial<SyncRequest> = {},
): SyncRequest => {
  const json = JSON.stringify({ room });
  const filter = filters.get(json) ?? parseFilter(JSON.parse(json));
  filters.set(json, filter);
  return {
    userId,
    deviceId: 'DEVICE',
    since: since === undefined ? undefined : decodeSyncToken(since),
    filter,
    fullState: false,
    timeout: 0,
    stateAfter: undefined,
    signal: new AbortController().signal,
    ...more,
  };
};
