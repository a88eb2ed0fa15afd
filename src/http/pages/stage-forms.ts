import type { StageView } from '#src/services/accounts/uia/uia-service.ts';
import { escapeHtml, type Language, type Page, textsOf, type Translated } from './page.ts';

/** What the page of a stage shows: its fields of the form, and what they load. */
export type StageForm = Pick<Page, 'content' | 'externalScripts' | 'script' | 'sources' | 'title'>;

const TEXTS = {
  dummy: { en: 'Go on', ja: '続ける' },
  terms: { en: 'Terms of this server', ja: 'このサーバーの利用規約' },
  accept: { en: 'I accept', ja: '同意します:' },
  token: { en: 'Registration token', ja: '登録トークン' },
  password: { en: 'Your password', ja: 'パスワードの確認' },
  of: { en: 'Password of', ja: 'パスワード:' },
  captcha: { en: 'Are you a person?', ja: '人間であることの確認' },
  button: { en: 'Go on', ja: '続ける' },
  email: { en: 'Your mail address', ja: 'メールアドレス' },
  sent: {
    en: 'A mail with a link is on its way to this address. Follow it, then come back and continue here.',
    ja: 'このアドレスに確認用のリンクを送信しました。リンクを開いて確認したあと、この画面に戻って続けてください。',
  },
} as const satisfies Record<string, Translated>;

type Writer = (stage: StageView, of: (text: keyof typeof TEXTS) => string, language: Language) => StageForm;

const button = (of: (text: 'button') => string): string => `<button>${of('button')}</button>`;

interface Document {
  readonly name: string;
  readonly url: string;
}

/** A document in the language of the page, else in English, else in any. */
const inLanguage = (policy: Readonly<Record<string, unknown>>, language: Language): Document | undefined => {
  const { version: _, ...texts } = policy as Readonly<Record<string, Document>>;
  return texts[language] ?? texts['en'] ?? Object.values(texts)[0];
};

const terms: Writer = ({ params }, of, language) => {
  const policies = Object.values(params['policies'] as Readonly<Record<string, Readonly<Record<string, unknown>>>>);
  const boxes = policies.flatMap((policy) => {
    const document = inLanguage(policy, language);
    if (document === undefined) return [];
    const link = `<a href="${escapeHtml(document.url)}" target="_blank" rel="noopener noreferrer">${escapeHtml(document.name)}</a>`;
    return [`<label class="check"><input type="checkbox" required><span>${of('accept')} ${link}</span></label>`];
  });
  return { title: of('terms'), content: `${boxes.join('\n')}\n${button(of)}` };
};

/** The captcha calls this when it is solved: its response is in the form then. */
const SOLVED = `window.solved=()=>document.querySelector('form').submit();`;

interface Widget {
  readonly className: string;
  readonly script: string;
  /** What its pages load from, as its maker says it for Content-Security-Policy. */
  readonly origins: readonly string[];
}

const WIDGETS: Readonly<Record<string, Widget>> = {
  'm.login.recaptcha': {
    className: 'g-recaptcha',
    script: 'https://www.google.com/recaptcha/api.js',
    origins: ['https://www.google.com/recaptcha/', 'https://www.gstatic.com/recaptcha/'],
  },
  'org.tsudoi.login.hcaptcha': {
    className: 'h-captcha',
    script: 'https://js.hcaptcha.com/1/api.js',
    origins: ['https://hcaptcha.com', 'https://*.hcaptcha.com'],
  },
  'org.tsudoi.login.turnstile': {
    className: 'cf-turnstile',
    script: 'https://challenges.cloudflare.com/turnstile/v0/api.js',
    origins: ['https://challenges.cloudflare.com'],
  },
};

const captcha: Writer = ({ params, type }, of, language) => {
  const { className, origins, script } = WIDGETS[type] as Widget;
  return {
    title: of('captcha'),
    content: `<div class="${className}" data-sitekey="${escapeHtml(String(params['public_key']))}" data-callback="solved"></div>`,
    script: SOLVED,
    externalScripts: [`${script}?hl=${language}`],
    sources: { scripts: origins, frames: origins, styles: origins, connections: origins },
  };
};

const WRITERS: Readonly<Record<string, Writer>> = {
  'm.login.dummy': (_, of) => ({ title: of('dummy'), content: button(of) }),
  'm.login.terms': terms,
  'm.login.registration_token': (_, of) => ({
    title: of('token'),
    content: `<label for="token">${of('token')}</label>
<input id="token" name="token" autocomplete="off" autocapitalize="none" spellcheck="false" maxlength="64" required autofocus>
${button(of)}`,
  }),
  'm.login.password': ({ userId = '' }, of) => ({
    title: of('password'),
    content: `<input name="user" type="hidden" autocomplete="username" value="${escapeHtml(userId)}">
<label for="password">${of('of')} ${escapeHtml(userId)}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
${button(of)}`,
  }),
  'm.login.email.identity': ({ params: { email, sid } }, of) => ({
    title: of('email'),
    content:
      typeof sid === 'string'
        ? `<p><strong>${escapeHtml(String(email))}</strong></p>
<p>${of('sent')}</p>
<input type="hidden" name="sid" value="${escapeHtml(sid)}">
<input type="hidden" name="email" value="${escapeHtml(String(email))}">
${button(of)}`
        : `<label for="email">${of('email')}</label>
<input id="email" name="email" type="email" autocomplete="email" maxlength="254" required autofocus>
${button(of)}`,
  }),
  ...Object.fromEntries(Object.keys(WIDGETS).map((type) => [type, captcha])),
};

/** The form of a stage; undefined for one that has no page. */
export const stageForm = (stage: StageView, language: Language): StageForm | undefined => {
  const writer = Object.hasOwn(WRITERS, stage.type) ? WRITERS[stage.type] : undefined;
  return writer?.(stage, textsOf(TEXTS, language), language);
};
