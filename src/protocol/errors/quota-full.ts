import { ERRCODE_STATUS, type Errcode, MatrixError } from './matrix-error.ts';

const QUOTA = 'org.tsudoi.quota';

/**
 * What is kept only up to a bound of the configuration, by the key that sets it (or that a group of such keys has), with the errcode of the
 * refusal beyond it. A bound of another kind, which time alone makes room under, is a `limitExceeded`.
 */
export const QUOTAS = {
  'quotas.account_data.pieces': 'M_TOO_LARGE',
  'quotas.account_data.bytes': 'M_TOO_LARGE',
  'quotas.tags_per_room': 'M_TOO_LARGE',
  'quotas.filters': 'M_TOO_LARGE',
  'quotas.push_rules.pieces': 'M_TOO_LARGE',
  'quotas.push_rules.bytes': 'M_TOO_LARGE',
  'quotas.pushers': 'M_TOO_LARGE',
  'quotas.threepids': 'M_TOO_LARGE',
  'quotas.devices': 'M_TOO_LARGE',
  'quotas.aliases': 'M_TOO_LARGE',
  'quotas.joined_rooms': 'M_TOO_LARGE',
  'quotas.thread_subscriptions': 'M_TOO_LARGE',
  'quotas.profile_fields': 'M_TOO_LARGE',
  'room.max_aliases': 'M_TOO_LARGE',
  'room.max_state_events': 'M_TOO_LARGE',
  'room.max_state_bytes': 'M_TOO_LARGE',
  'media.max_user_bytes': 'M_FORBIDDEN',
  'media.max_user_files': 'M_FORBIDDEN',
  'media.max_total_bytes': 'M_TOO_LARGE',
  'e2ee.max_one_time_keys': 'M_TOO_LARGE',
  'e2ee.max_backup_bytes': 'M_TOO_LARGE',
} as const satisfies Record<string, Errcode>;

/** The same of what no key of the configuration bounds: the names are those of the metric alone. */
export const FIXED_QUOTAS = {
  fallback_keys: { errcode: 'M_TOO_LARGE', status: 413 },
  key_backup_versions: { errcode: 'M_LIMIT_EXCEEDED', status: 403 },
  profile_bytes: { errcode: 'M_PROFILE_TOO_LARGE', status: 400 },
  registration_tokens: { errcode: 'M_RESOURCE_LIMIT_EXCEEDED', status: 403 },
} as const satisfies Record<string, { readonly errcode: Errcode; readonly status: number }>;

export type FixedQuota = keyof typeof FIXED_QUOTAS;
export type Quota = keyof typeof QUOTAS | FixedQuota;

/**
 * The refusal of what would be more than is kept.
 *
 * @param quota named to clients and counted, so that an operator sees which bound is too low
 * @param message says how much is kept, and what can be done
 */
export const quotaFull = (quota: Quota, message: string): MatrixError => {
  const { errcode, status } = answerOf(quota);
  return new MatrixError(errcode, message, { [QUOTA]: quota }, status);
};

const isFixed = (quota: Quota): quota is FixedQuota => Object.hasOwn(FIXED_QUOTAS, quota);

const answerOf = (quota: Quota): { readonly errcode: Errcode; readonly status: number } =>
  isFixed(quota) ? FIXED_QUOTAS[quota] : { errcode: QUOTAS[quota], status: ERRCODE_STATUS[QUOTAS[quota]] };

/** The quota by which something was refused; undefined for other errors. */
export const quotaOf = (error: MatrixError): Quota | undefined => error.fields[QUOTA] as Quota | undefined;

/** What is answered where the bound that a key of the configuration sets is reached: `413 M_TOO_LARGE`; undefined where the key is no quota. */
export const answerWhenFull = (key: string): { readonly status: number; readonly errcode: Errcode } | undefined => {
  const quotas: Readonly<Record<string, Errcode>> = QUOTAS;
  const errcode = quotas[key] ?? quotas[key.slice(0, Math.max(key.lastIndexOf('.'), 0))];
  return errcode === undefined ? undefined : { status: ERRCODE_STATUS[errcode], errcode };
};
