import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signText } from './json-signatures.ts';
import type { SigningKey } from './signing-key.ts';

/** A request of one server to another. */
export interface RequestToSign {
  readonly method: string;
  /** Path and query, as they are sent. */
  readonly uri: string;
  readonly origin: string;
  /** Left out by servers that are older than v1.3 of the specification. */
  readonly destination?: string | undefined;
  /** The JSON body; left out where there is none. */
  readonly content?: JsonObject | undefined;
  /** The same in Canonical JSON, instead of it. */
  readonly text?: string | undefined;
}

/** The body of a request as it is sent, and what proves the sender. */
export interface SignedRequest {
  /** Canonical JSON; undefined where there is no body. */
  readonly body: string | undefined;
  /** The value of `Authorization`. */
  readonly authorization: string;
}

/** The body in the one form in which it is signed. It may hold events of old room versions, whose numbers are no integers. */
const contentText = ({ content, text }: RequestToSign): string | undefined =>
  text ?? (content === undefined ? undefined : canonicalJson(content, 'lenient'));

/** What comes before the Canonical JSON of the body in the text that the signature of a request covers. */
export const BEFORE_CONTENT = '{"content":';

/** What comes after it. */
export const afterContent = ({ destination, method, origin, uri }: RequestToSign): string => {
  const members: [string, string][] = [];
  if (destination !== undefined) members.push(['destination', canonicalJson(destination)]);
  for (const [name, text] of [
    ['method', method],
    ['origin', origin],
    ['uri', uri],
  ] as const)
    members.push([name, canonicalJson(text)]);
  return `,${members.map(([name, text]) => `"${name}":${text}`).join(',')}}`;
};

/**
 * The text that the signature of a request covers: Canonical JSON of method, target, both servers and the body.
 *
 * @param content Canonical JSON of the body
 */
const requestText = (request: RequestToSign, content: string | undefined): string => {
  const after = afterContent(request);
  return content === undefined ? `{${after.slice(1)}` : `${BEFORE_CONTENT}${content}${after}`;
};

/** The text that the signature of a request covers. Server-Server API, "Request Authentication". */
export const signedRequestText = (request: RequestToSign): string => requestText(request, contentText(request));

/** Signs a request of this server to another one. Server-Server API, "Request Authentication". */
export const signRequest = (
  request: RequestToSign & { readonly destination: string },
  key: SigningKey,
): SignedRequest => {
  const { destination, origin } = request;
  const body = contentText(request);
  const signature = signText(requestText(request, body), key);
  const authorization = `X-Matrix origin="${origin}",destination="${destination}",key="${key.keyId}",sig="${signature}"`;
  return { body, authorization };
};

/** The value of `Authorization` by which another server knows that a request is ours. */
export const requestAuthorization = (
  request: RequestToSign & { readonly destination: string },
  key: SigningKey,
): string => signRequest(request, key).authorization;
