import { button, facts, paragraph, small } from './content.ts';
import type { MailTexts } from './mail-texts.ts';

const goodFor = (minutes: number): string =>
  `リンクの有効期限は${minutes >= 120 ? `${Math.floor(minutes / 60)}時間` : `${minutes}分`}です。`;

const ignore = 'お心当たりがない場合は、このメールを無視してください。';

/** Japanese. */
export const ja: MailTexts = {
  registration: ({ address, minutes, service, url }) => ({
    subject: `【${service}】メールアドレスの確認`,
    preview: `あと一歩で${service}のアカウントができます。`,
    heading: 'メールアドレスの確認',
    blocks: [
      paragraph(
        `${address} で${service}のアカウントを作成しようとしています。次のボタンからアドレスを確認してください。`,
      ),
      button('アドレスを確認する', url),
      small(goodFor(minutes)),
      small(ignore),
    ],
    reason: `このメールは、${service}のアカウント作成時にこのアドレスが入力されたため送信されました。`,
  }),
  addition: ({ address, minutes, service, url }) => ({
    subject: `【${service}】メールアドレスの追加の確認`,
    preview: `${service}のアカウントにこのアドレスが追加されます。`,
    heading: 'メールアドレスの追加の確認',
    blocks: [
      paragraph(
        `${address} を${service}のアカウントに追加しようとしています。追加すると、このアドレスでパスワードを再設定できるようになります。`,
      ),
      button('アドレスを確認する', url),
      small(goodFor(minutes)),
      small('お心当たりがない場合は、リンクを開かないでください。'),
    ],
    reason: `このメールは、${service}のアカウントにこのアドレスを追加する手続きがあったため送信されました。`,
  }),
  passwordReset: ({ minutes, service, url, userId }) => ({
    subject: `【${service}】パスワードの再設定`,
    preview: `${userId} のパスワードの再設定が求められました。`,
    heading: 'パスワードを再設定しますか?',
    blocks: [
      paragraph(`アカウント ${userId} のパスワードの再設定が求められました。`),
      button('手続きを続ける', url),
      small(goodFor(minutes)),
      small('お心当たりがない場合は、リンクを開かないでください。パスワードは変わりません。'),
    ],
    reason: `このメールは、このアドレスが${service}のアカウントに登録されているため送信されました。`,
  }),
  addressTaken: ({ address, service, userId }) => ({
    subject: `【${service}】アカウントはすでにあります`,
    preview: `${address} は ${userId} に登録されています。`,
    heading: 'アカウントはすでにあります',
    blocks: [
      paragraph(`${address} を${service}の別のアカウントに使おうとする手続きがありました。`),
      paragraph(
        `このアドレスはすでに ${userId} に登録されています。パスワードをお忘れの場合は、ログイン画面から再設定してください。`,
      ),
      small(ignore),
    ],
    reason: `このメールは、このアドレスが${service}のアカウントに登録されているため送信されました。`,
  }),
  invitation: ({ address, inviter, inviterId, room, service, url }) => ({
    subject: room === '' ? `${inviter} さんから会話に招待されました` : `${inviter} さんから「${room}」に招待されました`,
    preview: `${inviterId} さんが Matrix であなたと話したいそうです。`,
    heading: room === '' ? '会話への招待' : `「${room}」への招待`,
    blocks: [
      paragraph(
        `${inviter} さん(${inviterId})から、Matrix の${room === '' ? '会話' : `ルーム「${room}」`}に招待されました。Matrix は、メッセージや通話のための開かれたネットワークです。`,
      ),
      paragraph(
        `${address} で${service}のアカウントを作成するか、お持ちのアカウントにこのアドレスを追加すると、招待を受け取れます。`,
      ),
      button(`${service}を開く`, url),
      small('お心当たりがない場合は、このメールを無視してください。'),
    ],
    reason: `このメールは、${service}の利用者があなたをこのアドレスで招待したため送信されました。`,
  }),
  newLogin: ({ device, ip, service, time, userId }) => ({
    subject: `【${service}】新しい端末からのログイン`,
    preview: `${device}、${time}`,
    heading: '新しい端末からのログイン',
    blocks: [
      paragraph(`${userId} に、これまで使われていなかった端末からログインがありました。`),
      facts(['端末', device], ['日時', time], ['IP アドレス', ip]),
      paragraph(
        'ご自身によるものでしたら、何もする必要はありません。お心当たりがない場合は、すぐにパスワードを変更し、その端末をログアウトさせてください。',
      ),
    ],
    reason: `このメールは、このアドレスが${service}のアカウントに登録されているため送信されました。`,
  }),
  expiry: ({ service, time, url, userId }) => ({
    subject: `【${service}】アカウントの有効期限が近づいています`,
    preview: `${userId} は ${time} まで利用できます。`,
    heading: 'アカウントを継続しますか?',
    blocks: [
      paragraph(`アカウント ${userId} の有効期限は ${time} です。引き続き利用する場合は、次のボタンを押してください。`),
      button('アカウントを継続する', url),
    ],
    reason: `このメールは、このアドレスが${service}のアカウントに登録されているため送信されました。`,
  }),
  digest: ({ room, rooms, sender, service, unsubscribeUrl, userId }) => ({
    subject:
      room === undefined
        ? `【${service}】未読のメッセージがあります`
        : sender === undefined || sender === room
          ? `「${room}」に未読のメッセージがあります`
          : `「${room}」に ${sender} さんからの未読のメッセージがあります`,
    preview: `${userId} がまだ読んでいないメッセージです。`,
    heading: '未読のメッセージがあります',
    blocks: rooms,
    reason: `このメールは、${userId} が未読メッセージのメール通知を設定しているため送信されました。`,
    unsubscribe: { label: 'このメールの配信を停止する', url: unsubscribeUrl },
  }),
  encryptedMessage: '(暗号化されたメッセージ)',
  sentImage: '(画像)',
  sentFile: '(ファイル)',
  sentVideo: '(動画)',
  sentAudio: '(音声)',
  invitedYou: 'あなたを招待しました',
  otherEvent: '(アプリで表示できる内容)',
  moreMessages: (count) => `ほか ${count} 件`,
};
