import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signJson, signaturesOf } from './json-signatures.ts';
import type { SigningKey } from './signing-key.ts';

/** A request of this server to another one. */
export interface RequestToSign {
  readonly method: string;
  /** Path and query, as they are sent. */
  readonly uri: string;
  readonly origin: string;
  readonly destination: string;
  /** The JSON body; left out where there is none. */
  readonly content?: JsonObject;
}

/** The value of `Authorization` by which another server knows that a request is ours. Server-Server API, "Request Authentication". */
export const requestAuthorization = (request: RequestToSign, key: SigningKey): string => {
  const { origin, destination } = request;
  const signature = signaturesOf(signJson({ ...request }, origin, key), origin).get(key.keyId) ?? '';
  return `X-Matrix origin="${origin}",destination="${destination}",key="${key.keyId}",sig="${signature}"`;
};
