import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { OutboundHttp } from './outbound-http.ts';

/** The verdict of a moderation tool on an action. */
export type SpamCheckAnswer =
  | { readonly kind: 'allowed'; readonly body: JsonObject }
  /** `errcode` as it names it; undefined where it names none. */
  | {
      readonly kind: 'refused';
      readonly errcode: string | undefined;
      readonly error: string | undefined;
      readonly fields: JsonObject;
    }
  /** It could not be reached, or its response is invalid. */
  | { readonly kind: 'silent'; readonly reason: string };

export interface SpamCheckApiOptions {
  /** Without an address guard: the operator configured the URL, and redirects are not followed. */
  readonly outbound: OutboundHttp;
  /** Without a slash at the end: `http://127.0.0.1:8081/api/1/spam_check`. */
  readonly baseUrl: string;
  /** Sent as `Authorization: Bearer ...`; null for none. */
  readonly secret: string | null;
  readonly timeoutMs: number;
}

export const MAX_BODY_BYTES = 65_536;

/**
 * Asks a receiver of `synapse-http-antispam`, such as Draupnir and Meowlnir: `POST {base}/{callback}` with the parameters as JSON. Any
 * 2xx allows, a JSON object with another status refuses.
 */
export class SpamCheckApi {
  readonly #options: SpamCheckApiOptions;

  constructor(options: SpamCheckApiOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async ask(callback: string, body: JsonObject): Promise<SpamCheckAnswer> {
    const { baseUrl, outbound, secret, timeoutMs } = this.#options;
    const response = await outbound.request({
      method: 'POST',
      url: `${baseUrl}/${callback}`,
      allowHttp: true,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json',
        ...(secret === null ? {} : { authorization: `Bearer ${secret}` }),
      },
      body: JSON.stringify(body),
      maxBodyBytes: MAX_BODY_BYTES,
      timeouts: { headersMs: timeoutMs, bodyMs: timeoutMs, totalMs: timeoutMs },
    });
    if (!response.ok) return { kind: 'silent', reason: response.reason };
    const said = parsed(response.body);
    if (response.status >= 200 && response.status < 300) return { kind: 'allowed', body: said ?? {} };
    // An error of a proxy or of the receiver itself is no verdict.
    if (said === undefined || response.status < 400 || response.status >= 500)
      return { kind: 'silent', reason: `it answered ${response.status}` };
    const { errcode, error, ...fields } = said;
    return {
      kind: 'refused',
      errcode: typeof errcode === 'string' ? errcode : undefined,
      error: typeof error === 'string' ? error : undefined,
      fields,
    };
  }
}

const parsed = (bytes: Buffer): JsonObject | undefined => {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
};
