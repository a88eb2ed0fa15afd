import type { Logger } from '#src/kernel/logger.ts';
import type { OutboundHttp, OutboundTimeouts } from './outbound-http.ts';

/** The verification endpoints of the services. They have the same API. */
export const VERIFY_URLS = {
  recaptcha: 'https://www.google.com/recaptcha/api/siteverify',
  hcaptcha: 'https://api.hcaptcha.com/siteverify',
  turnstile: 'https://challenges.cloudflare.com/turnstile/v0/siteverify',
} as const;

export interface CaptchaServiceOptions {
  readonly outbound: OutboundHttp;
  readonly logger: Logger;
  readonly verifyUrl: string;
  readonly secretKey: string;
}

/** Error codes that mean a mistake of this server. */
const OWN_FAULTS = new Set(['missing-input-secret', 'invalid-input-secret', 'sitekey-secret-mismatch', 'bad-request']);
const TIMEOUTS: Partial<OutboundTimeouts> = { headersMs: 10_000, bodyMs: 5_000, totalMs: 15_000 };
export const MAX_BODY_BYTES = 65_536;

/** Asks reCAPTCHA, hCaptcha or Turnstile whether a user has solved their captcha. */
export class CaptchaService {
  readonly #options: CaptchaServiceOptions;

  constructor(options: CaptchaServiceOptions) {
    this.#options = options;
  }

  /** Never rejects: a failed request or an unusable answer is `unknown`, and logged. */
  async verify(response: string, ip: string): Promise<'solved' | 'wrong' | 'unknown'> {
    const { logger, outbound, secretKey, verifyUrl } = this.#options;
    const answer = await outbound.request({
      method: 'POST',
      url: verifyUrl,
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: new URLSearchParams({ secret: secretKey, response, remoteip: ip }).toString(),
      maxBodyBytes: MAX_BODY_BYTES,
      timeouts: TIMEOUTS,
    });
    const body = answer.ok ? parsed(answer.body) : undefined;
    const errors = body?.['error-codes'];
    const faults = Array.isArray(errors) ? errors.filter((code) => OWN_FAULTS.has(String(code))) : [];
    if (typeof body?.success !== 'boolean' || faults.length > 0) {
      logger.warn('a captcha could not be checked', {
        host: new URL(verifyUrl).host,
        reason: answer.ok ? faults.join(', ') || `it answered ${answer.status}` : answer.reason,
      });
      return 'unknown';
    }
    return body.success ? 'solved' : 'wrong';
  }
}

interface Verdict {
  readonly success?: unknown;
  readonly 'error-codes'?: unknown;
}

const parsed = (bytes: Buffer): Verdict | undefined => {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
};
