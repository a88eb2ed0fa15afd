import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { Gate } from '#src/kernel/limits/gate.ts';
import type { SignatureVerifier } from '#src/kernel/verification/signature-verifier.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { alsoSigned, type BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import { signedEventText } from '#src/protocol/events/event-hashes.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { MAX_EVENT_BYTES } from '#src/protocol/events/pdu-format.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { signaturesOf, verifyText, withSignature } from '#src/protocol/signing/json-signatures.ts';
import { type FederationFailure, matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import { type AskedSignature, POLICY_KEY_ID, type PolicyApi } from '#src/remote/federation/policy-api.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { withoutUnsigned } from '#src/services/room-model/event/stored-json.ts';
import { isExempt, namesPolicyServer, policyOf, type RoomPolicy } from './room-policy.ts';

export interface PolicyServersOptions {
  readonly api: Pick<PolicyApi, 'sign'>;
  readonly verifier: SignatureVerifier;
  readonly clock: Clock;
}

/** The verdict of a policy server on a remote event. */
export type PolicyVerdict =
  /** With its signature. */
  { readonly isRecommended: true; readonly pdu: Pdu } | { readonly isRecommended: false; readonly reason: string };

type Remembered =
  | {
      readonly isRecommended: true;
      /** That it was asked for, and the event does not have yet. */
      readonly signature?: string;
    }
  | {
      readonly isRecommended: false;
      readonly reason: string;
      /** Milliseconds of the monotonic clock from which it is asked again: it did not say anything. */
      readonly until?: number;
    };

const RECOMMENDED: Remembered = { isRecommended: true };
/** Verdicts that are remembered until their events are in their rooms. */
const MAX_VERDICTS = 10_000;
const SILENCE_MS = 30_000;
/** Events of other servers that are asked about at the same time: of one room, and in all. */
const ASKING_IN_ROOM = 4;
const ASKING = 256;
/** Events of one room that users of this server send at the same time, and that wait until it is their turn. */
export const SENDING_IN_ROOM = 8;
export const MAX_WAITING = 100;
const RETRY_AFTER_MS = 1_000;

/**
 * Asks the policy servers of rooms whether they recommend events, and knows by their signatures which ones they do. Server-Server API, "Policy
 * Servers".
 */
export class PolicyServers {
  readonly #options: PolicyServersOptions;
  readonly #verdicts = new LRUCache<string, Remembered>(atMost(MAX_VERDICTS));
  readonly #asking = new Gate(ASKING);
  readonly #lines = new WeakMap<Room, Gate>();

  constructor(options: PolicyServersOptions) {
    this.#options = options;
  }

  /** Whether events of the room may have to be signed by a policy server. */
  mayConcern(room: Room): boolean {
    return namesPolicyServer(room);
  }

  /** The policy server that has to sign one of these; undefined when there is none. */
  policyFor(
    room: Room,
    drafts: readonly { readonly type: string; readonly stateKey?: string | undefined }[],
  ): RoomPolicy | undefined {
    return drafts.every(({ stateKey, type }) => isExempt(type, stateKey)) ? undefined : policyOf(room);
  }

  /**
   * Sends events in the name of users of this server: so many of a room at the same time, since each waits for the policy server.
   *
   * @throws MatrixError M_LIMIT_EXCEEDED when too many wait already
   */
  inLine<T>(room: Room, work: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(room) ?? new Gate(SENDING_IN_ROOM);
    this.#lines.set(room, line);
    if (line.waiting >= MAX_WAITING)
      throw limitExceeded('policy server', RETRY_AFTER_MS, 'Too many events of this room wait for its policy server.');
    return line.run(work);
  }

  /**
   * An event that a user of this server sends, with the signature of the room's policy server beside ours; as it is where none is needed.
   *
   * @throws MatrixError what the policy server says where it refuses, and else why there is no signature; M_TOO_LARGE
   */
  async signed(room: Room, event: BuiltPdu): Promise<BuiltPdu> {
    const policy = this.policyFor(room, [{ type: event.pdu.type, stateKey: event.pdu.state_key }]);
    if (policy === undefined) return event;
    const answer = await this.#ask(room, policy, event.pdu, { isUrgent: true });
    if (answer.ok) return alsoSigned(room.version, event, policy.via, POLICY_KEY_ID, answer.signature);
    throw answer.failure === undefined ? new MatrixError('M_FORBIDDEN', answer.reason) : errorOf(answer.failure);
  }

  /**
   * Finds out which of these events of other servers the room's policy server recommends: by the signature that they have, or else by asking
   * for one. What it says is remembered for `verdictOn`.
   */
  async prepare(room: Room, events: readonly IdentifiedPdu[], signal?: AbortSignal): Promise<void> {
    const policy = policyOf(room);
    if (policy === undefined) return;
    const open = events.filter(({ eventId, pdu }) => !this.#isKnown(policy, eventId, pdu));
    const signed = open.flatMap((event) => {
      const signature = signatureIn(event.pdu, policy);
      return signature === undefined ? [] : { event, signature };
    });
    const { verifyKey } = policy;
    const good =
      verifyKey === undefined
        ? []
        : await this.#options.verifier.verifyMany(
            signed.map(({ event, signature }) => ({
              text: signedEventText(room.version, event.pdu),
              signature,
              verifyKey,
            })),
          );
    const recommended = new Set(signed.flatMap(({ event }, index) => (good[index] === true ? event.eventId : [])));
    for (const eventId of recommended) this.#verdicts.set(keyOf(policy, eventId), RECOMMENDED);
    const line = new Gate(ASKING_IN_ROOM);
    await Promise.all(
      open
        .filter(({ eventId }) => !recommended.has(eventId))
        .map((event) => line.run(() => this.#asking.run(() => this.#askAbout(room, policy, event, signal)))),
    );
  }

  /** What the room's policy server of now says of an event; undefined when it has to be prepared first. */
  verdictOn(room: Room, { eventId, pdu }: IdentifiedPdu): PolicyVerdict | undefined {
    const policy = this.policyFor(room, [{ type: pdu.type, stateKey: pdu.state_key }]);
    if (policy === undefined) return { isRecommended: true, pdu };
    const known = this.#verdicts.get(keyOf(policy, eventId));
    return known?.isRecommended === true
      ? { isRecommended: true, pdu: completed(pdu, policy, known.signature) }
      : known;
  }

  /** Whether an event carries the signature that the room wants now, if it wants one. */
  isSigned(room: Room, pdu: Pdu): boolean {
    const policy = this.policyFor(room, [{ type: pdu.type, stateKey: pdu.state_key }]);
    if (policy === undefined) return true;
    const signature = signatureIn(pdu, policy);
    return signature !== undefined && isValid(room, policy, pdu, signature);
  }

  #isKnown(policy: RoomPolicy, eventId: string, pdu: Pdu): boolean {
    if (isExempt(pdu.type, pdu.state_key)) return true;
    const known = this.#verdicts.get(keyOf(policy, eventId));
    if (known === undefined) return false;
    return known.isRecommended || (known.until ?? Infinity) > this.#options.clock.monotonic();
  }

  async #askAbout(
    room: Room,
    policy: RoomPolicy,
    { eventId, pdu }: IdentifiedPdu,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (isAborted(signal)) return;
    const answer = await this.#ask(room, policy, pdu, { signal });
    // An aborted request has learned nothing.
    if (isAborted(signal)) return;
    const isSilent = !answer.ok && answer.failure !== undefined && !isRefusal(answer.failure);
    this.#verdicts.set(
      keyOf(policy, eventId),
      answer.ok
        ? { isRecommended: true, signature: answer.signature }
        : {
            isRecommended: false,
            reason: answer.reason,
            ...(isSilent ? { until: this.#options.clock.monotonic() + SILENCE_MS } : {}),
          },
    );
  }

  /** A signature that is good. */
  async #ask(
    room: Room,
    policy: RoomPolicy,
    pdu: Pdu,
    how: AskedSignature,
  ): Promise<
    | { readonly ok: true; readonly signature: string }
    | { readonly ok: false; readonly reason: string; readonly failure?: FederationFailure }
  > {
    const { via } = policy;
    if (policy.verifyKey === undefined)
      return { ok: false, reason: `What the room names as the key of its policy server ${via} is no Ed25519 key.` };
    const answer = await this.#options.api.sign(via, withoutUnsigned(pdu), how);
    if (!answer.ok)
      return { ok: false, reason: `The policy server ${via} did not sign it: ${answer.error}`, failure: answer };
    return isValid(room, policy, pdu, answer.signature)
      ? answer
      : { ok: false, reason: `The policy server ${via} signs with another key than the room names.` };
  }
}

const isAborted = (signal: AbortSignal | undefined): boolean => signal?.aborted === true;

const keyOf = ({ id }: RoomPolicy, eventId: string): string => `${eventId} ${id}`;

const signatureIn = (pdu: Pdu, { via }: RoomPolicy): string | undefined => signaturesOf(pdu, via).get(POLICY_KEY_ID);

/** The event with the signature, beside those that it has of the same server: as long as it stays an event. */
const completed = (pdu: Pdu, { via }: RoomPolicy, signature: string | undefined): Pdu => {
  if (signature === undefined) return pdu;
  const signed = withSignature(pdu, via, POLICY_KEY_ID, signature) as Pdu;
  return Buffer.byteLength(canonicalJson(withoutUnsigned(signed), 'lenient')) <= MAX_EVENT_BYTES ? signed : pdu;
};

const isValid = (room: Room, { verifyKey }: RoomPolicy, pdu: Pdu, signature: string): boolean =>
  verifyKey !== undefined && verifyText(signedEventText(room.version, pdu), signature, verifyKey);

/** Whether the policy server said something of the event, and not only that it is not able to now. */
const isRefusal = ({ kind, status = 500 }: FederationFailure): boolean =>
  kind === 'refused' && status < 500 && status !== 429;

/** "If the Policy Server returned an error, that error SHOULD be provided to the client verbatim." */
const errorOf = (failure: FederationFailure): MatrixError => {
  const { errcode, error, retryAfterMs } = failure;
  if (errcode === 'M_LIMIT_EXCEEDED')
    return new MatrixError(errcode, error, { retry_after_ms: retryAfterMs ?? RETRY_AFTER_MS });
  if (!isRefusal(failure)) return matrixErrorOf(failure);
  // Other errcodes are about the request of this server. A client would take them for its own.
  return errcode === undefined || errcode === 'M_FORBIDDEN'
    ? new MatrixError('M_FORBIDDEN', error)
    : new MatrixError('M_FORBIDDEN', `The policy server ${failure.destination} did not sign the event: ${error}`);
};
