import { Type } from 'typebox';
import { markup } from '#src/kernel/text/html.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { type DigestService, UNSUBSCRIBE_PATH } from '#src/services/mail/digests/digest-service.ts';
import { endpoint, FormBody, type Reply } from '../endpoint.ts';
import { type Language, languageOf, pageReply, type Translated } from './page.ts';

const TEXTS = {
  title: { en: 'No more mails about missed messages?', ja: '未読メッセージのメール通知を停止しますか?' },
  button: { en: 'Send me no more', ja: '停止する' },
  done: { en: 'Done', ja: '停止しました' },
  told: {
    en: 'You get no more mails about missed messages. You can turn them on again in your app.',
    ja: '未読メッセージのメール通知を停止しました。アプリの設定から再開できます。',
  },
  failed: { en: 'That did not work', ja: '停止できませんでした' },
  incomplete: {
    en: 'This link is not complete. Copy all of it out of the mail.',
    ja: 'リンクが途中で切れています。メールにあるリンクをすべてコピーしてください。',
  },
} as const satisfies Record<string, Translated>;

const query = Type.Object({
  pusher: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
  token: Type.String(),
});
const responseType = 'text/html; charset=utf-8';

interface Services {
  readonly digests: DigestService;
}

const refusal = (error: unknown, language: Language): Reply => {
  if (!(error instanceof MatrixError)) throw error;
  const content = markup`<p>${TEXTS.incomplete[language]}</p>`.text;
  return pageReply({ language, title: TEXTS.failed[language], content, status: error.status });
};

/** The page that unsubscribes from mails about missed messages, without a login. RFC 8058: mail programs send the form by themselves. */
export const unsubscribeEndpoints = [
  endpoint({
    operationId: 'getUnsubscribePage',
    summary: 'Asks whether mails about missed messages are to end.',
    method: 'GET',
    path: UNSUBSCRIBE_PATH,
    auth: 'none',
    rateLimit: 'mail_link',
    query,
    response: Type.String(),
    responseType,
    errcodes: ['M_TOKEN_INCORRECT', 'M_LIMIT_EXCEEDED'],
    async handler({ digests }: Services, { query: { pusher, token }, info }) {
      const language = languageOf(info.acceptLanguage);
      try {
        digests.assertLink(pusher, token);
        const content = markup`<form method="post"><button>${TEXTS.button[language]}</button></form>`.text;
        return pageReply({ language, title: TEXTS.title[language], content });
      } catch (error) {
        return refusal(error, language);
      }
    },
  }),
  endpoint({
    operationId: 'unsubscribe',
    summary: 'Ends mails about missed messages.',
    method: 'POST',
    path: UNSUBSCRIBE_PATH,
    auth: 'none',
    rateLimit: 'mail_link',
    query,
    body: new FormBody(Type.Object({ 'List-Unsubscribe': Type.Optional(Type.String()) })),
    response: Type.String(),
    responseType,
    errcodes: ['M_TOKEN_INCORRECT', 'M_LIMIT_EXCEEDED'],
    async handler({ digests }: Services, { query: { pusher, token }, info }) {
      const language = languageOf(info.acceptLanguage);
      try {
        await digests.unsubscribe(pusher, token);
        const content = markup`<p>${TEXTS.told[language]}</p>`.text;
        return pageReply({ language, title: TEXTS.done[language], content });
      } catch (error) {
        return refusal(error, language);
      }
    },
  }),
];
