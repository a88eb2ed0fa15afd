import { Type } from 'typebox';
import { markup } from '#src/kernel/text/html.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import type { NextLink } from '#src/services/accounts/validation/next-links.ts';
import { CONFIRM_PATH } from '#src/services/mail/validation/validation-mails.ts';
import { endpoint, FormBody, Reply } from '../endpoint.ts';
import { type Language, languageOf, pageReply, type Translated } from './page.ts';

const TEXTS = {
  register: { en: 'Confirm your address', ja: 'メールアドレスの確認' },
  add: { en: 'Add this address to your account?', ja: 'このアドレスをアカウントに追加しますか?' },
  reset: { en: 'Set a new password?', ja: 'パスワードを再設定しますか?' },
  button: { en: 'Confirm', ja: '確認する' },
  careful: {
    en: 'Go on only if it was you who asked for this a moment ago.',
    ja: 'ご自身で手続きをした場合にのみ、続けてください。',
  },
  done: { en: 'Confirmed', ja: '確認しました' },
  back: {
    en: 'Go back to the app in which you began: it continues there.',
    ja: 'はじめに操作していたアプリに戻って、手続きを続けてください。',
  },
  onwards: { en: 'Or continue to', ja: 'または、次のサイトに進みます:' },
  failed: { en: 'That did not work', ja: '確認できませんでした' },
  M_SESSION_EXPIRED: {
    en: 'This link has expired, or has been used. Ask for a new one in the app.',
    ja: 'リンクの有効期限が切れたか、すでに使用されています。アプリからもう一度手続きをしてください。',
  },
  M_TOKEN_INCORRECT: {
    en: 'This link is not complete. Copy all of it out of the mail.',
    ja: 'リンクが途中で切れています。メールにあるリンクをすべてコピーしてください。',
  },
} as const satisfies Record<string, Translated>;

const link = { sid: Type.String(), token: Type.String() };
const responseType = 'text/html; charset=utf-8';

interface Services {
  readonly addressValidation: AddressValidation;
}

const isTitle = (purpose: string): purpose is 'register' | 'add' | 'reset' =>
  purpose === 'register' || purpose === 'add' || purpose === 'reset';

/** A page that tells what is wrong with a link. @throws errors that are not about the link */
const refusal = (error: unknown, language: Language): Reply => {
  if (
    !(error instanceof MatrixError) ||
    !(error.errcode === 'M_SESSION_EXPIRED' || error.errcode === 'M_TOKEN_INCORRECT')
  )
    throw error;
  const content = markup`<p>${TEXTS[error.errcode][language]}</p>`.text;
  return pageReply({ language, title: TEXTS.failed[language], content, status: error.status });
};

const askingPage = (
  { address, purpose }: { readonly address: string; readonly purpose: string },
  next: NextLink | undefined,
  { sid, token }: { readonly sid: string; readonly token: string },
  language: Language,
): Reply =>
  pageReply({
    language,
    title: TEXTS[isTitle(purpose) ? purpose : 'register'][language],
    // Browsers apply the policy to redirects after a form too.
    ...(next?.isTrusted === true ? { sources: { forms: [next.origin] } } : {}),
    content: markup`<p><strong>${address}</strong></p>
            <p>${TEXTS.careful[language]}</p>
            <form method="post" action="?">
              <input type="hidden" name="sid" value="${sid}" />
              <input type="hidden" name="token" value="${token}" />
              <button>${TEXTS.button[language]}</button>
            </form>`.text,
  });

const donePage = (next: NextLink | undefined, language: Language): Reply => {
  const onwards =
    next === undefined
      ? markup``
      : markup`<p>${TEXTS.onwards[language]} <a href="${next.url}" rel="noreferrer">${next.host}</a></p>`;
  const content = markup`<p>${TEXTS.back[language]}</p>
          ${onwards}`.text;
  return pageReply({ language, title: TEXTS.done[language], content });
};

/** The pages behind the links in mails. Mail scanners follow links: only the button confirms. */
export const confirmEmailEndpoints = [
  endpoint({
    operationId: 'getConfirmEmailPage',
    summary: 'Asks the user who followed the link in a mail to confirm their address.',
    method: 'GET',
    path: CONFIRM_PATH,
    auth: 'none',
    rateLimit: 'mail_link',
    query: Type.Object(link),
    response: Type.String(),
    responseType,
    errcodes: ['M_SESSION_EXPIRED', 'M_TOKEN_INCORRECT', 'M_LIMIT_EXCEEDED'],
    async handler({ addressValidation }: Services, { query: { sid, token }, info }) {
      const language = languageOf(info.acceptLanguage);
      try {
        const session = await addressValidation.look(sid, token);
        return askingPage(session, addressValidation.nextLinkOf(session), { sid, token }, language);
      } catch (error) {
        return refusal(error, language);
      }
    },
  }),
  endpoint({
    operationId: 'confirmEmail',
    summary: 'Confirms a mail address by the token that was sent to it.',
    method: 'POST',
    path: CONFIRM_PATH,
    auth: 'none',
    rateLimit: 'mail_link',
    body: new FormBody(Type.Object(link)),
    response: Type.String(),
    responseType,
    errcodes: ['M_SESSION_EXPIRED', 'M_TOKEN_INCORRECT', 'M_LIMIT_EXCEEDED'],
    answers: { 303: { description: 'Leads on to the `next_link`, where its host is one of `email.next_link_hosts`.' } },
    async handler({ addressValidation }: Services, { body: { sid, token }, info }) {
      const language = languageOf(info.acceptLanguage);
      try {
        const next = addressValidation.nextLinkOf(await addressValidation.confirm(sid, token));
        if (next?.isTrusted === true) return new Reply({ status: 303, headers: { Location: next.url } });
        return donePage(next, language);
      } catch (error) {
        return refusal(error, language);
      }
    },
  }),
];
