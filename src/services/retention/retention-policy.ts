import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';

/** How long this server keeps events; milliseconds. */
export interface RetentionLimits {
  /** For rooms without a policy of their own; null for ever. */
  readonly defaultMaxLifetimeMs: number | null;
  readonly allowedMinLifetimeMs: number;
  /** Null: as long as rooms want. */
  readonly allowedMaxLifetimeMs: number | null;
}

const lifetime = (value: JsonValue | undefined): number | undefined =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;

/**
 * For how many milliseconds a room keeps its events; undefined for ever. MSC1763: `max_lifetime` says when events go at the latest,
 * `min_lifetime` how long they stay at least; a room may ask for what the server allows.
 *
 * @param content of the room's `m.room.retention`
 */
export const lifetimeIn = (content: JsonObject | undefined, limits: RetentionLimits): number | undefined => {
  const wanted = lifetime(content?.['max_lifetime']);
  const least = lifetime(content?.['min_lifetime']) ?? 0;
  // A contradictory policy counts as none.
  const isSensible = wanted === undefined || wanted >= least;
  const { defaultMaxLifetimeMs, allowedMinLifetimeMs, allowedMaxLifetimeMs } = limits;
  if (wanted === undefined || !isSensible) {
    return defaultMaxLifetimeMs === null ? undefined : Math.max(defaultMaxLifetimeMs, isSensible ? least : 0);
  }
  return Math.min(Math.max(wanted, allowedMinLifetimeMs), allowedMaxLifetimeMs ?? Infinity);
};

/** The limits as clients see them. MSC1763, in the form of its endpoint `/retention/configuration`. */
export interface RetentionConfiguration {
  readonly policies: Readonly<Record<string, { readonly max_lifetime: number }>>;
  readonly limits: { readonly max_lifetime?: { readonly min?: number; readonly max?: number } };
}

/** @param limits undefined when nothing is deleted for its age */
export const retentionConfiguration = (limits: RetentionLimits | undefined): RetentionConfiguration => {
  if (limits === undefined) return { policies: {}, limits: {} };
  const { defaultMaxLifetimeMs, allowedMinLifetimeMs, allowedMaxLifetimeMs } = limits;
  const range = {
    ...(allowedMinLifetimeMs === 0 ? {} : { min: allowedMinLifetimeMs }),
    ...(allowedMaxLifetimeMs === null ? {} : { max: allowedMaxLifetimeMs }),
  };
  return {
    policies: defaultMaxLifetimeMs === null ? {} : { '*': { max_lifetime: defaultMaxLifetimeMs } },
    limits: Object.keys(range).length === 0 ? {} : { max_lifetime: range },
  };
};

/** The content of an event in JSON. */
export const contentOf = (json: string | null): JsonObject | undefined => {
  const event: unknown = json === null ? undefined : JSON.parse(json);
  const content = isJsonObject(event as JsonValue) ? (event as JsonObject)['content'] : undefined;
  return isJsonObject(content) ? content : undefined;
};
