import { setImmediate } from 'node:timers/promises';
import type { SignatureCheck, SignatureVerifier } from '#src/kernel/verification/signature-verifier.ts';
import { requiredSignatures } from '#src/protocol/auth/required-signatures.ts';
import { eventIdOf, hasRightContentHash, signedEventText } from '#src/protocol/events/event-hashes.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { checkPduFormat } from '#src/protocol/events/pdu-format.ts';
import { redact } from '#src/protocol/events/redaction.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { signaturesOf } from '#src/protocol/signing/json-signatures.ts';
import { type KeyAsking, OWN_ASKING, type ServerKeys, type WantedKey } from './server-keys.ts';

/** An event with valid format, signatures and hash; or why it is invalid. */
export type VerifiedPdu =
  | { readonly ok: true; readonly event: IdentifiedPdu }
  | {
      readonly ok: false;
      readonly eventId?: string;
      readonly reason: string;
      /** It is malformed for the room's version, whatever its signatures. */
      readonly isMalformed?: true;
    };

export interface EventVerifierOptions {
  readonly keys: Pick<ServerKeys, 'keysOf'>;
  readonly verifier: SignatureVerifier;
}

/** Events that are looked at without a pause. */
const SLICE = 50;
/** Signatures of one server that are looked at. */
export const MAX_SIGNATURES = 8;

/** An event whose format is good, and what has to be verified of it. */
interface Candidate {
  readonly eventId: string;
  /** As it is accepted: the redacted copy where the content hash is wrong. */
  readonly pdu: Pdu;
  readonly text: string;
  /** Each of these has to have signed it: its signatures by key id. */
  readonly signers: ReadonlyMap<string, ReadonlyMap<string, string>>;
}

/**
 * Checks what needs nothing but the event itself: format, size, signatures, content hash. Server-Server API, "Checks performed on receipt of
 * a PDU", 1 to 3, and "Validating hashes and signatures on received events".
 */
export class EventVerifier {
  readonly #options: EventVerifierOptions;

  constructor(options: EventVerifierOptions) {
    this.#options = options;
  }

  /**
   * Checks events of one room version, in the order in which they are given. Where only the content hash is wrong, the event is the redacted
   * copy.
   *
   * @param asking in whose name servers are asked for their keys; in that of this one, whose question was answered, when left out
   */
  async verify(version: RoomVersion, pdus: readonly unknown[], asking = OWN_ASKING): Promise<VerifiedPdu[]> {
    const verdicts: (VerifiedPdu | Candidate)[] = [];
    for (const [index, json] of pdus.entries()) {
      if (index > 0 && index % SLICE === 0) await setImmediate();
      verdicts.push(candidate(version, json));
    }
    const failures = await this.#checkSignatures(version, verdicts.filter(isCandidate), asking);
    const verified: VerifiedPdu[] = [];
    for (const [index, verdict] of verdicts.entries()) {
      if (index > 0 && index % SLICE === 0) await setImmediate();
      verified.push(isCandidate(verdict) ? judged(verdict, failures.get(verdict)) : verdict);
    }
    return verified;
  }

  /** Why the signatures of an event are not enough, by event. */
  async #checkSignatures(
    version: RoomVersion,
    candidates: readonly Candidate[],
    asking: KeyAsking,
  ): Promise<Map<Candidate, string>> {
    const wanted: (WantedKey & { readonly candidate: Candidate; readonly signature: string })[] = [];
    for (const one of candidates) {
      const validAt = version.enforceKeyValidity ? one.pdu.origin_server_ts : 0;
      for (const [serverName, signatures] of one.signers)
        for (const [keyId, signature] of signatures)
          wanted.push({ serverName, keyId, validAt, candidate: one, signature });
    }
    const keys = await this.#options.keys.keysOf(wanted, asking);
    const checks: SignatureCheck[] = [];
    const checked: (typeof wanted)[number][] = [];
    for (const [index, want] of wanted.entries()) {
      const verifyKey = keys[index];
      // "If a signature is from an unknown or expired key, it is skipped."
      if (verifyKey === undefined) continue;
      checks.push({ text: want.candidate.text, signature: want.signature, verifyKey });
      checked.push(want);
    }
    const good = await this.#options.verifier.verifyMany(checks);
    const failures = new Map<Candidate, string>();
    const signed = new Map<Candidate, Set<string>>();
    for (const [index, { candidate: one, keyId, serverName }] of checked.entries()) {
      if (good[index] === true) signed.set(one, (signed.get(one) ?? new Set()).add(serverName));
      else failures.set(one, `its signature by ${keyId} of ${serverName} is wrong`);
    }
    for (const one of candidates) {
      const missing = [...one.signers.keys()].find((serverName) => signed.get(one)?.has(serverName) !== true);
      if (missing !== undefined && !failures.has(one))
        failures.set(one, `it has no signature of ${missing} by a key that is known and was valid then`);
    }
    return failures;
  }
}

const isCandidate = (verdict: VerifiedPdu | Candidate): verdict is Candidate => !('ok' in verdict);

const candidate = (version: RoomVersion, json: unknown): VerifiedPdu | Candidate => {
  const format = checkPduFormat(version, json);
  if (!format.ok) return { ok: false, reason: format.reason, isMalformed: true };
  const text = signedEventText(version, format.pdu);
  const eventId = eventIdOf(version, format.pdu, text);
  // "If the hash check fails, then it is assumed that this is because we have only been given a redacted version of the event." Who has to have
  // signed it is said by that version: what was left out of it proves nothing.
  const pdu = hasRightContentHash(version, format.pdu) ? format.pdu : (redact(version, format.pdu) as Pdu);
  const signers = new Map<string, ReadonlyMap<string, string>>();
  for (const serverName of requiredSignatures(version, pdu, eventId)) {
    const signatures = [...signaturesOf(pdu, serverName)].slice(0, MAX_SIGNATURES);
    if (signatures.length === 0) return { ok: false, eventId, reason: `it has no signature of ${serverName}` };
    signers.set(serverName, new Map(signatures));
  }
  return { eventId, pdu, text, signers };
};

const judged = ({ eventId, pdu }: Candidate, failure: string | undefined): VerifiedPdu =>
  failure === undefined ? { ok: true, event: { eventId, pdu } } : { ok: false, eventId, reason: failure };
