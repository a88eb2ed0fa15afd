import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { type AuthData, StageFailed } from '#src/services/accounts/uia/stages.ts';
import type { StageView, UiaService } from '#src/services/accounts/uia/uia-service.ts';
import { EMAIL_STAGE, purposeOf } from '#src/services/accounts/uia/email-stage.ts';
import type { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import { endpoint, FormBody, type Reply } from '../endpoint.ts';
import { escapeHtml, type Language, languageOf, pageReply, type Translated } from './page.ts';
import { stageForm } from './stage-forms.ts';

/** The specification's own words: by them the client learns that it can continue. */
const DONE = `
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}
`;

const TEXTS = {
  done: { en: 'Thank you', ja: '完了しました' },
  back: { en: 'You can close this page and go back.', ja: 'このページを閉じて、元の画面に戻ってください。' },
  none: { en: 'This page is not there any more', ja: 'このページは無効です' },
  again: {
    en: 'It belongs to something that has ended or expired. Begin anew in your client.',
    ja: '認証セッションが終了したか、期限が切れています。クライアントで最初からやり直してください。',
  },
  wrong: { en: 'That was not right. Try again.', ja: '正しくありません。もう一度お試しください。' },
  notYet: {
    en: 'The link in the mail has not been followed yet.',
    ja: 'メールのリンクがまだ確認されていません。',
  },
  address: {
    en: 'This address cannot be used here.',
    ja: 'このメールアドレスは使用できません。',
  },
  later: {
    en: 'This does not work at the moment. Try again shortly.',
    ja: 'ただいま確認できません。しばらくしてからお試しください。',
  },
} as const satisfies Record<string, Translated>;

const donePage = (language: Language): Reply =>
  pageReply({ language, title: TEXTS.done[language], content: `<p>${TEXTS.back[language]}</p>`, script: DONE });

const nothingPage = (language: Language): Reply =>
  pageReply({ language, status: 404, title: TEXTS.none[language], content: `<p>${TEXTS.again[language]}</p>` });

const formPage = (
  stage: StageView,
  language: Language,
  problem?: { readonly status: number; readonly text: string },
): Reply => {
  const form = stageForm(stage, language);
  if (form === undefined) return nothingPage(language);
  const content = `<form method="post" autocomplete="off">
${form.content}
</form>
<p class="status" role="alert">${escapeHtml(problem?.text ?? '')}</p>`;
  return pageReply({ ...form, content, language, status: problem?.status ?? 200 });
};

/** Errcodes of addresses that cannot be validated. */
const ABOUT_ADDRESSES: ReadonlySet<string> = new Set([
  'M_INVALID_PARAM',
  'M_THREEPID_DENIED',
  'M_THREEPID_IN_USE',
  'M_THREEPID_NOT_FOUND',
]);

/** What was wrong with an attempt, as a sentence for the user. */
const problemOf = (
  error: unknown,
  type: string,
  language: Language,
): { readonly status: number; readonly text: string } => {
  if (error instanceof StageFailed) {
    const isOurs = error.errcode === 'M_UNKNOWN';
    const problem = isOurs ? TEXTS.later : type === EMAIL_STAGE ? TEXTS.notYet : TEXTS.wrong;
    return { status: isOurs ? 503 : 401, text: problem[language] };
  }
  if (error instanceof MatrixError && ABOUT_ADDRESSES.has(error.errcode))
    return { status: error.status, text: TEXTS.address[language] };
  if (error instanceof MatrixError && error.errcode === 'M_LIMIT_EXCEEDED')
    return { status: error.status, text: TEXTS.later[language] };
  throw error;
};

const path = '/_matrix/client/v3/auth/{authType}/fallback/web';
const params = Type.Object({ authType: Type.String() });
const query = Type.Object({ session: Type.String() });
const html = { response: Type.String(), responseType: 'text/html; charset=utf-8' };
const fields = {
  token: Type.Optional(Type.String()),
  email: Type.Optional(Type.String()),
  sid: Type.Optional(Type.String()),
  user: Type.Optional(Type.String()),
  password: Type.Optional(Type.String()),
  'g-recaptcha-response': Type.Optional(Type.String()),
  'h-captcha-response': Type.Optional(Type.String()),
  'cf-turnstile-response': Type.Optional(Type.String()),
};

interface Services {
  readonly uia: UiaService;
  readonly addressValidation: AddressValidation;
}

/** Pages on which stages of user-interactive authentication are completed that a client does not know. Client-Server API, "Fallback". */
export const stageFallbackEndpoints = [
  endpoint({
    operationId: 'getStageFallback',
    summary: 'The page on which a stage of user-interactive authentication is completed.',
    method: 'GET',
    path,
    auth: 'none',
    rateLimit: 'default',
    params,
    query,
    ...html,
    errcodes: ['M_LIMIT_EXCEEDED'],
    answers: { 404: { description: 'A page that says that there is no such stage.', schema: Type.String() } },
    async handler({ uia }: Pick<Services, 'uia'>, { params: { authType }, query: { session }, info }) {
      const language = languageOf(info.acceptLanguage);
      const stage = await uia.stageOf(session, authType);
      if (stage === undefined) return nothingPage(language);
      return stage.isCompleted ? donePage(language) : formPage(stage, language);
    },
  }),
  endpoint({
    operationId: 'completeStageFallback',
    summary: 'Completes a stage of user-interactive authentication on its page.',
    method: 'POST',
    path,
    auth: 'none',
    rateLimit: 'registration',
    params,
    query,
    body: new FormBody(Type.Object(fields)),
    ...html,
    errcodes: ['M_LIMIT_EXCEEDED'],
    answers: {
      401: { description: 'The page again: the attempt failed.', schema: Type.String() },
      404: { description: 'A page that says that there is no such stage.', schema: Type.String() },
      503: { description: 'The page again: the attempt cannot be judged at the moment.', schema: Type.String() },
    },
    async handler(
      { addressValidation, uia }: Services,
      { params: { authType: type }, query: { session }, body, info },
    ) {
      const language = languageOf(info.acceptLanguage);
      const stage = await uia.stageOf(session, type);
      if (stage === undefined) return nothingPage(language);
      const { email = '', sid } = body;
      const purpose = type === EMAIL_STAGE ? purposeOf(stage.operation) : undefined;
      const mailed = (known: string): StageView => ({ ...stage, params: { ...stage.params, email, sid: known } });
      try {
        if (purpose !== undefined && sid === undefined) {
          const asked = { email, acceptLanguage: info.acceptLanguage, ip: info.ip };
          return formPage(mailed(await addressValidation.requestOnPage(purpose, session, asked)), language);
        }
        const secret = addressValidation.secretOf(session);
        await uia.attempt(session, authOf(type, body, secret), info.ip);
        return donePage(language);
      } catch (error) {
        return formPage(sid === undefined ? stage : mailed(sid), language, problemOf(error, type, language));
      }
    },
  }),
];

/** The members of a form as a client would send them in `auth`. */
const authOf = (
  type: string,
  body: { readonly [field in keyof typeof fields]?: string },
  secret: string,
): AuthData & { readonly type: string } => ({
  type,
  token: body.token,
  identifier: { type: 'm.id.user', user: body.user },
  password: body.password,
  threepid_creds: { sid: body.sid, client_secret: secret },
  response: body['g-recaptcha-response'] ?? body['h-captcha-response'] ?? body['cf-turnstile-response'],
});
