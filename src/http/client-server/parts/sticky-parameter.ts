import { Type } from 'typebox';
import { MAX_STICKY_MS } from '#src/protocol/events/sticky.ts';

const STICKY_DURATION = 'org.matrix.msc4354.sticky_duration_ms';

/** The parameter that makes an event sticky, in milliseconds. MSC4354, "Unstable Prefix". */
export const stickyParameter = {
  [STICKY_DURATION]: Type.Optional(Type.Integer({ minimum: 0, maximum: MAX_STICKY_MS })),
};

export const stickyDurationOf = (query: { readonly [STICKY_DURATION]?: number }): number | undefined =>
  query[STICKY_DURATION];
