import { type AuthData, type Stage, type StageContext, StageFailed } from './stages.ts';

/** Captcha services. */
export type CaptchaProvider = 'recaptcha' | 'hcaptcha' | 'turnstile';

/** What the service says of a captcha's response. `unknown`: it could not be reached. */
export type CaptchaVerdict = 'solved' | 'wrong' | 'unknown';

/** Asks the captcha service whether the user has solved the captcha. Never rejects. */
export interface CaptchaVerifier {
  verify(response: string, ip: string): Promise<CaptchaVerdict>;
}

/**
 * The authentication type of each service. Clients show reCAPTCHA themselves when they see `m.login.recaptcha`; the others have types that
 * no client knows, so that clients open the fallback page.
 */
const CAPTCHA_STAGES: Readonly<Record<CaptchaProvider, string>> = {
  recaptcha: 'm.login.recaptcha',
  hcaptcha: 'org.tsudoi.login.hcaptcha',
  turnstile: 'org.tsudoi.login.turnstile',
};

export const MAX_RESPONSE_LENGTH = 8_192;

/** The stage of user-interactive authentication in which the user solves a captcha. Client-Server API, "Google ReCaptcha". */
export class CaptchaStage implements Stage {
  readonly type: string;
  readonly #siteKey: string;
  readonly #verifier: CaptchaVerifier;

  /** @param siteKey told to clients */
  constructor(provider: CaptchaProvider, siteKey: string, verifier: CaptchaVerifier) {
    this.type = CAPTCHA_STAGES[provider];
    this.#siteKey = siteKey;
    this.#verifier = verifier;
  }

  params(): Readonly<Record<string, unknown>> {
    return { public_key: this.#siteKey };
  }

  async attempt(auth: AuthData, { ip }: StageContext): Promise<undefined> {
    const response = auth['response'];
    if (typeof response !== 'string' || response === '')
      throw new StageFailed(
        'M_CAPTCHA_NEEDED',
        'The member response of auth is missing: the captcha has to be solved.',
      );
    const verdict = response.length > MAX_RESPONSE_LENGTH ? 'wrong' : await this.#verifier.verify(response, ip);
    if (verdict === 'wrong') throw new StageFailed('M_CAPTCHA_INVALID', 'The captcha was not solved: try again.');
    if (verdict === 'unknown')
      throw new StageFailed('M_UNKNOWN', 'The captcha cannot be checked at the moment: try again shortly.');
    return undefined;
  }
}
