import { ADMINISTERS } from '#src/services/accounts/admission/access-rules.ts';

/** Who may call the routes of administrators. */
export const OF_ADMINISTRATORS = {
  auth: 'admin',
  guests: 'refused',
  suspended: ADMINISTERS,
  rateLimit: 'default',
} as const;
