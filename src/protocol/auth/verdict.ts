import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';

/** What the authorization rules say of an event. The reason is an English clause. */
export type AuthVerdict = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** The state that an event is judged against: the event at `(type, state key)`, or undefined. */
export type StateAccess = (type: string, stateKey: string) => IdentifiedPdu | undefined;

export const ALLOW: AuthVerdict = { ok: true };

export function reject(reason: string): AuthVerdict {
  return { ok: false, reason };
}
