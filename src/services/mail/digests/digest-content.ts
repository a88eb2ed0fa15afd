import type { Language } from '#src/kernel/text/language.ts';
import { shownLine, shownName } from '#src/services/mail/templates/shown-text.ts';
import type { Block, MailContent, ShownMessage } from '#src/services/mail/templates/content.ts';
import { mailTexts } from '#src/services/mail/templates/languages.ts';
import type { MailTexts } from '#src/services/mail/templates/mail-texts.ts';
import type { UnreadMessage } from './ports.ts';

const MESSAGES_OF_ROOM = 5;
const MAX_ROOMS = 10;

export interface DigestFrame {
  readonly language: Language;
  readonly service: string;
  readonly userId: string;
  readonly unsubscribeUrl: string;
}

/** The mail about messages that a user has not read: by room, the newest of each. */
export const digestContent = (missed: readonly UnreadMessage[], frame: DigestFrame): MailContent => {
  const { language, service, unsubscribeUrl, userId } = frame;
  const texts = mailTexts(language);
  const time = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short', timeZone: 'UTC' });
  const rooms = [...Map.groupBy(missed, ({ roomId }) => roomId).values()];
  const blocks: Block[] = rooms.slice(0, MAX_ROOMS).map((messages) => ({
    kind: 'room',
    name: roomName(messages),
    url: `https://matrix.to/#/${encodeURIComponent(messages[0]?.roomId ?? '')}`,
    messages: messages.slice(-MESSAGES_OF_ROOM).map((message) => shown(message, texts, time)),
    more: messages.length > MESSAGES_OF_ROOM ? texts.moreMessages(messages.length - MESSAGES_OF_ROOM) : '',
  }));
  const senders = new Set(missed.map(({ senderId }) => senderId));
  const [first] = missed;
  return texts.digest({
    service,
    userId,
    room: rooms.length === 1 && rooms[0] !== undefined ? roomName(rooms[0]) : undefined,
    sender: senders.size === 1 && first !== undefined ? shownName(first.senderName, first.senderId) : undefined,
    rooms: blocks,
    unsubscribeUrl,
  });
};

/** A room without a name is named after the sender of its last message. */
const roomName = (messages: readonly UnreadMessage[]): string => {
  const last = messages.at(-1);
  if (last === undefined) return '';
  return shownName(last.roomName, shownName(last.senderName, last.senderId));
};

const shown = (message: UnreadMessage, texts: MailTexts, time: Intl.DateTimeFormat): ShownMessage => ({
  sender: shownName(message.senderName, message.senderId),
  text: shownLine(textOf(message, texts)),
  time: `${time.format(message.ts)} UTC`,
});

/** What a message says, where that can be said in a mail. */
const textOf = ({ content, type }: UnreadMessage, texts: MailTexts): string => {
  if (type === 'm.room.encrypted') return texts.encryptedMessage;
  if (type === 'm.room.member' && content['membership'] === 'invite') return texts.invitedYou;
  const { body, msgtype } = content;
  switch (msgtype) {
    case 'm.image':
      return texts.sentImage;
    case 'm.video':
      return texts.sentVideo;
    case 'm.audio':
      return texts.sentAudio;
    case 'm.file':
      return texts.sentFile;
    default:
      return type === 'm.room.message' && typeof body === 'string' && body.trim() !== '' ? body : texts.otherEvent;
  }
};
