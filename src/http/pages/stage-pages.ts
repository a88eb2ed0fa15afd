import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { EMAIL_STAGE } from '#src/services/accounts/uia/email-stage.ts';
import { StageFailed } from '#src/services/accounts/uia/stages.ts';
import type { StageView } from '#src/services/accounts/uia/uia-service.ts';
import type { Reply } from '../endpoint.ts';
import { escapeHtml, type Language, pageReply, type Translated } from './page.ts';
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

/** Says that the stage is completed, to the user and to the client that opened the page. */
export const donePage = (language: Language): Reply =>
  pageReply({ language, title: TEXTS.done[language], content: `<p>${TEXTS.back[language]}</p>`, script: DONE });

/** Says that there is no such stage any more. */
export const nothingPage = (language: Language): Reply =>
  pageReply({ language, status: 404, title: TEXTS.none[language], content: `<p>${TEXTS.again[language]}</p>` });

/** The form of a stage. @param problem what was wrong with the attempt before */
export const formPage = (
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
export const problemOf = (
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
