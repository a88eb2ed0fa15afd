import { Type } from 'typebox';
import { markup } from '#src/kernel/text/html.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { type AccountValidity, RENEWAL_PATH } from '#src/services/accounts/validity/account-validity.ts';
import { endpoint, FormBody, type Reply } from '../endpoint.ts';
import { type Language, languageOf, pageReply, type Translated } from './page.ts';

const TEXTS = {
  title: { en: 'Go on using your account?', ja: 'アカウントを引き続き利用しますか?' },
  button: { en: 'Renew it', ja: '更新する' },
  done: { en: 'Your account is renewed', ja: 'アカウントを更新しました' },
  back: { en: 'You can close this page.', ja: 'このページを閉じてください。' },
  none: { en: 'This link is not good any more', ja: 'このリンクは無効です' },
  again: {
    en: 'It has been used, or is not complete. The newest mail has one that is.',
    ja: 'すでに使用されたか、途中で切れています。最新のメールにあるリンクをお使いください。',
  },
} as const satisfies Record<string, Translated>;

const link = { user_id: Type.String(), token: Type.String() };
const responseType = 'text/html; charset=utf-8';
const answers = { 403: { description: 'A page that says that the link is not good.', schema: Type.String() } };

interface Services {
  readonly accountValidity: AccountValidity;
}

const refusal = (language: Language): Reply =>
  pageReply({
    language,
    status: 403,
    title: TEXTS.none[language],
    content: markup`<p>${TEXTS.again[language]}</p>`.text,
  });

/** The page on which a user renews an account. Mail scanners follow links: only the button renews. */
export const renewAccountEndpoints = [
  endpoint({
    operationId: 'getRenewalPage',
    summary: 'Asks a user whether the account is to be renewed.',
    method: 'GET',
    path: RENEWAL_PATH,
    auth: 'none',
    rateLimit: 'mail_link',
    query: Type.Object(link),
    response: Type.String(),
    responseType,
    errcodes: ['M_LIMIT_EXCEEDED'],
    answers,
    async handler({ accountValidity }: Services, { query: { user_id: userId, token }, info }) {
      const language = languageOf(info.acceptLanguage);
      if (!(await accountValidity.isRenewable(userId, token))) return refusal(language);
      const content = markup`<p><strong>${userId}</strong></p>
        <form method="post" action="?">
          <input type="hidden" name="user_id" value="${userId}" />
          <input type="hidden" name="token" value="${token}" />
          <button>${TEXTS.button[language]}</button>
        </form>`.text;
      return pageReply({ language, title: TEXTS.title[language], content });
    },
  }),
  endpoint({
    operationId: 'renewAccount',
    summary: 'Renews an account by the token of a link.',
    method: 'POST',
    path: RENEWAL_PATH,
    auth: 'none',
    rateLimit: 'mail_link',
    body: new FormBody(Type.Object(link)),
    response: Type.String(),
    responseType,
    errcodes: ['M_LIMIT_EXCEEDED'],
    answers,
    async handler({ accountValidity }: Services, { body: { user_id: userId, token }, info }) {
      const language = languageOf(info.acceptLanguage);
      try {
        await accountValidity.renew(userId, token);
      } catch (error) {
        if (error instanceof MatrixError && error.errcode === 'M_FORBIDDEN') return refusal(language);
        throw error;
      }
      const content = markup`<p>${TEXTS.back[language]}</p>`.text;
      return pageReply({ language, title: TEXTS.done[language], content });
    },
  }),
];
