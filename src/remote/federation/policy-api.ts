import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signaturesOf } from '#src/protocol/signing/json-signatures.ts';
import type { OutboundTimeouts } from '../outbound-http.ts';
import type { FederationClient } from './federation-client.ts';
import { type FederationFailure, federationFailure } from './federation-result.ts';

/** "The Key ID for the `ed25519` key in `m.room.policy` is *always* `ed25519:policy_server`." */
export const POLICY_KEY_ID = 'ed25519:policy_server';

export const MAX_ANSWER_SIZE = 65_536;
/** Milliseconds: a user waits for it, or the events of a room. */
const TIMEOUTS: Partial<OutboundTimeouts> = { headersMs: 10_000, bodyMs: 10_000, totalMs: 10_000 };

export interface AskedSignature {
  /** A user waits for the response. */
  readonly isUrgent?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** The signatures of policy servers for events. Server-Server API, "Policy Servers". */
export class PolicyApi {
  readonly #client: Pick<FederationClient, 'request'>;

  constructor(client: Pick<FederationClient, 'request'>) {
    this.#client = client;
  }

  /** The signature of a policy server for an event, in base64 and not verified yet. `POST /_matrix/policy/v1/sign`. */
  async sign(
    destination: string,
    pdu: JsonObject,
    { isUrgent = false, signal }: AskedSignature = {},
  ): Promise<{ readonly ok: true; readonly signature: string } | FederationFailure> {
    const response = await this.#client.request({
      destination,
      method: 'POST',
      path: '/_matrix/policy/v1/sign',
      content: pdu,
      maxBodyBytes: MAX_ANSWER_SIZE,
      timeouts: TIMEOUTS,
      isUrgent,
      signal,
    });
    if (!response.ok) return response;
    const signature = signaturesOf({ signatures: response.body }, destination).get(POLICY_KEY_ID);
    return signature === undefined
      ? federationFailure('bad_answer', destination, `${destination} did not answer with a signature.`)
      : { ok: true, signature };
  }
}
