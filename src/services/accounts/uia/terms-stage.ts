import type { Stage } from './stages.ts';

export const TERMS_STAGE = 'm.login.terms';

/** A document in one language. */
export interface PolicyText {
  readonly name: string;
  readonly url: string;
}

/** A document that new users have to accept: its version, and the languages that it is there in, by their codes. */
export interface PolicyDocument {
  readonly version: string;
  readonly [language: string]: string | PolicyText;
}

/** The documents by their names, as clients are shown them. Client-Server API, "Terms of service at registration". */
export type Policies = Readonly<Record<string, PolicyDocument>>;

/** `m.login.terms`: the user accepts all documents. Proves which versions of them, as `acceptedVersions` reads it. */
export class TermsStage implements Stage {
  readonly type = TERMS_STAGE;
  readonly #policies: Policies;

  constructor(policies: Policies) {
    this.#policies = policies;
  }

  params(): Readonly<Record<string, unknown>> {
    return { policies: this.#policies };
  }

  attempt(): Promise<string> {
    const versions = Object.entries(this.#policies).map(([policy, { version }]) => [policy, version] as const);
    return Promise.resolve(JSON.stringify(versions));
  }
}

/** Documents and their versions, of what the stage proved. */
export const acceptedVersions = (proof: string): readonly (readonly [policy: string, version: string])[] =>
  JSON.parse(proof) as [string, string][];
