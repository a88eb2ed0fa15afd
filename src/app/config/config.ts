import type { RawConfig } from './schema.ts';

type CamelCase<K extends string> = K extends `${infer A}_${infer B}` ? `${A}${Capitalize<CamelCase<B>>}` : K;

/** The same in camelCase, and read-only. Maps whose keys are data (string index) keep them. */
type Camel<T> = T extends readonly (infer I)[]
  ? readonly Camel<I>[]
  : T extends object
    ? string extends keyof T
      ? Readonly<T>
      : { readonly [K in keyof T as CamelCase<K & string>]: Camel<T[K]> }
    : T;

/** One group of rate limits: `burst` at once, then `perSecond` on average. */
export interface RateLimitGroup {
  readonly perSecond: number;
  readonly burst: number;
}

/** The whole configuration, validated and frozen; the composition root passes its parts to the services. */
export type Config = Camel<Omit<RawConfig, 'rate_limits' | 'registration' | 'signing_key_file' | 'tls'>> & {
  readonly rateLimits: { readonly enabled: boolean; readonly buckets: Readonly<Record<string, RateLimitGroup>> };
  readonly registration: Camel<Omit<RawConfig['registration'], 'enabled'>> & { readonly enabled: boolean };
  readonly signingKeyFile: string;
  readonly tls: Camel<Omit<RawConfig['tls'], 'bind'>> & { readonly bind: string };
};

/** Fills in values that depend on other keys, and turns names into camelCase. */
export function toConfig(raw: RawConfig): Config {
  const { enabled, ...groups } = raw.rate_limits;
  const onLocalhost = /^localhost(:[0-9]+)?$/.test(raw.server_name);
  const config = {
    ...(camel(raw) as Record<string, unknown>),
    rateLimits: {
      enabled,
      // Group names are names of buckets, and stay as they are.
      buckets: Object.fromEntries(
        Object.entries(groups).map(([name, group]) => [name, { perSecond: group.per_second, burst: group.burst }]),
      ),
    },
    registration: {
      ...(camel(raw.registration) as object),
      enabled: raw.registration.enabled ?? onLocalhost,
      // Names of documents and languages.
      terms: raw.registration.terms,
    },
    signingKeyFile: raw.signing_key_file ?? `${raw.data_dir.replace(/\/+$/, '')}/signing.key`,
    tls: { ...(camel(raw.tls) as object), bind: raw.tls.bind ?? raw.http.bind },
    // Data, not names of keys.
    rtc: raw.rtc,
    wellKnown: {
      ...(camel(raw.well_known) as object),
      client: raw.well_known.client,
      serverKeys: raw.well_known.server_keys,
      supportKeys: raw.well_known.support_keys,
      policyServerKeys: raw.well_known.policy_server_keys,
    },
    federation: { ...(camel(raw.federation) as object), staticHosts: raw.federation.static_hosts },
  };
  return deepFreeze(config) as unknown as Config;
}

function camel(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(camel);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, below]) => [
      key.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()),
      camel(below),
    ]),
  );
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const below of Object.values(value)) deepFreeze(below);
    Object.freeze(value);
  }
  return value;
}
