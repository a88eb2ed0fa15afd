import { LANGUAGES, type Language } from '#src/kernel/text/language.ts';
import { digestContent } from '#src/services/mail/digests/digest-content.ts';
import type { MailContent } from '#src/services/mail/templates/content.ts';
import { mailTexts } from '#src/services/mail/templates/languages.ts';
import { mailHtml, mailText } from '#src/services/mail/templates/layout.ts';
import { MINUTE_MS } from '#src/kernel/dates.ts';

const service = 'example.org';
const url = 'https://matrix.example.org';
const address = 'bob@mail.example';
const userId = '@bob:example.org';
const TOKEN = 'eHAzMnRva2VuIG9mIHRoaXMgbGluaw0';
const link = `${url}/_tsudoi/email/confirm?sid=4n8XqZbW2tLrYvK7&token=${TOKEN}`;
const unsubscribeUrl = `${url}/_tsudoi/email/unsubscribe?pusher=7&token=${TOKEN}`;
/** 2026-11-29, 19:17 UTC. */
const TS = 1_795_979_820_000;

const message = (senderName: string, body: string, minutes: number, more: object = {}) => ({
  roomId: '!tea:example.org',
  roomName: 'お茶会 & Tea',
  senderId: '@alice:example.org',
  senderName,
  type: 'm.room.message',
  content: { msgtype: 'm.text', body },
  ts: TS + minutes * MINUTE_MS,
  ...more,
});

/** Every mail with something in it, by name. */
const mailsIn = (language: Language): Readonly<Record<string, MailContent>> => {
  const texts = mailTexts(language);
  const linked = { service, address, url: link, minutes: 60 };
  const time = language === 'ja' ? '2026年11月29日 19:17 UTC' : 'November 29, 2026 at 7:17 PM UTC';
  const inviter = { inviter: 'Alice', inviterId: '@alice:example.org', room: 'お茶会 & Tea' };
  const missed = [
    ...['おはよう', '<b>not bold</b>', 'How are you?', 'See you at five', 'お菓子を持ってきてね', '…'].map(
      (body, index) => message('Alice', body, index),
    ),
    message('Carol', '', 9, {
      roomId: '!secret:example.org',
      roomName: undefined,
      senderId: '@carol:example.org',
      type: 'm.room.encrypted',
    }),
    message('Carol', 'cat.jpg', 12, {
      roomId: '!cats:example.org',
      roomName: 'Cats',
      senderId: '@carol:example.org',
      content: { msgtype: 'm.image', body: 'cat.jpg' },
    }),
  ];
  return {
    registration: texts.registration(linked),
    addition: texts.addition(linked),
    'password-reset': texts.passwordReset({ ...linked, userId }),
    'address-taken': texts.addressTaken({ service, address, userId }),
    invitation: texts.invitation({ service, address, url, ...inviter }),
    'new-login': texts.newLogin({ service, userId, device: 'Element on Linux', time, ip: '203.0.113.7' }),
    expiry: texts.expiry({ service, userId, time, url: link }),
    digest: digestContent(missed, { language, service, userId, unsubscribeUrl }),
  };
};

/** docs/mails.md and the mails that it shows, by path. */
export const mailPreviews = (): ReadonlyMap<string, string> => {
  const files = new Map<string, string>();
  const rows: string[] = [];
  for (const language of LANGUAGES) {
    const frame = { language, service, url };
    for (const [name, content] of Object.entries(mailsIn(language))) {
      const path = `mails/${name}.${language}`;
      files.set(`docs/${path}.html`, mailHtml(content, frame));
      files.set(`docs/${path}.txt`, mailText(content, frame));
      const subject = content.subject.replaceAll('|', String.raw`\|`);
      rows.push(`| ${name} | ${language} | ${subject} | [HTML](${path}.html), [text](${path}.txt) |`);
    }
  }
  const index = [
    '# Mails',
    '',
    'What this server sends by mail, with made-up names in it. This page and the mails are made from the templates (`npm run generate`).',
    '',
    '| mail | language | subject | |',
    '|---|---|---|---|',
    ...rows.toSorted(),
    '',
  ];
  files.set('docs/mails.md', index.join('\n'));
  return files;
};
