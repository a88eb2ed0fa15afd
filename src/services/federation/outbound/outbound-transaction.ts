import { hash } from 'node:crypto';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { Edu } from './edu-source.ts';

/** What is kept of a transaction until it has arrived, or is given up: not its content, which is read again for each attempt. */
export interface SentTransaction {
  readonly id: string;
  /** Its `origin_server_ts`: one that is put together again, and has the same in it, has the same text. */
  readonly originServerTs: number;
  /** It holds as much as it may: more may wait. */
  readonly isFull: boolean;
  /** To be called when everything in it has arrived, or is given up. */
  readonly delivered: () => Promise<void>;
}

/** A transaction to be sent. */
export interface OutboundTransaction extends SentTransaction {
  /** Its body in Canonical JSON. */
  readonly body: string;
}

/**
 * The id of a transaction says what is in it: one that is put together again after a failure or a restart, and has the same in it, is recognised
 * by its receiver. With another id it brings what the receiver recognises by itself: events by their ids, messages by theirs.
 *
 * @param identity of what has to arrive
 * @param otherwise the id of a transaction without such content
 */
export const transactionId = (identity: readonly string[], otherwise: () => string): string =>
  identity.length === 0 ? otherwise() : hash('sha256', JSON.stringify(identity), 'base64url').slice(0, 32);

/**
 * The body of a transaction in Canonical JSON. Events are not written anew for each server: their text is that which is stored.
 *
 * @param pdus each in Canonical JSON
 */
export const bodyOf = (origin: string, now: number, pdus: readonly string[], edus: readonly Edu[]): string => {
  const contents = edus.map(({ edu_type, content }) => ({ edu_type, content }));
  const first = contents.length === 0 ? '' : `"edus":${canonicalJson(contents, 'lenient')},`;
  return `{${first}"origin":${canonicalJson(origin)},"origin_server_ts":${now},"pdus":[${pdus.join(',')}]}`;
};
