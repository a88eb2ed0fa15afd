import { button, facts, paragraph, small } from './content.ts';
import type { MailTexts } from './mail-texts.ts';

const goodFor = (minutes: number): string =>
  `The link is good for ${minutes >= 120 ? `${Math.floor(minutes / 60)} hours` : `${minutes} minutes`}.`;

const ignore = 'If it was not you who asked for this, you need not do anything.';

/** English. */
export const en: MailTexts = {
  registration: ({ address, minutes, service, url }) => ({
    subject: `Confirm your address for ${service}`,
    preview: `One more step, and you have an account on ${service}.`,
    heading: 'Confirm your address',
    blocks: [
      paragraph(`Someone, probably you, is making an account on ${service} with the address ${address}.`),
      button('Confirm the address', url),
      small(goodFor(minutes)),
      small(ignore),
    ],
    reason: `This mail was sent because your address was given when an account was made on ${service}.`,
  }),
  addition: ({ address, minutes, service, url }) => ({
    subject: `Confirm your address for ${service}`,
    preview: `Your address is to be added to an account on ${service}.`,
    heading: 'Confirm your address',
    blocks: [
      paragraph(
        `The address ${address} is to be added to an account on ${service}. The account can then be found by this address, and its password can be reset by it.`,
      ),
      button('Confirm the address', url),
      small(goodFor(minutes)),
      small('If it was not you who asked for this, do not follow the link.'),
    ],
    reason: `This mail was sent because someone wants to add your address to their account on ${service}.`,
  }),
  passwordReset: ({ minutes, service, url, userId }) => ({
    subject: `A new password for ${service}`,
    preview: `Someone asked for a new password for ${userId}.`,
    heading: 'Set a new password?',
    blocks: [
      paragraph(`Someone, probably you, asked for a new password for the account ${userId}.`),
      button('Continue', url),
      small(goodFor(minutes)),
      small('If it was not you, do not follow the link: your password stays as it is.'),
    ],
    reason: `This mail was sent because your address belongs to an account on ${service}.`,
  }),
  addressTaken: ({ address, service, userId }) => ({
    subject: `You have an account on ${service} already`,
    preview: `The address ${address} belongs to ${userId}.`,
    heading: 'You have an account already',
    blocks: [
      paragraph(`Someone, probably you, wanted to use the address ${address} for an account on ${service}.`),
      paragraph(
        `It belongs to ${userId} already. If you do not know its password any more, ask for a new one where you log in.`,
      ),
      small(ignore),
    ],
    reason: `This mail was sent because your address belongs to an account on ${service}.`,
  }),
  invitation: ({ address, inviter, inviterId, room, service, url }) => ({
    subject: room === '' ? `${inviter} invites you to a conversation` : `${inviter} invites you to ${room}`,
    preview: `${inviterId} would like to talk to you on Matrix.`,
    heading: room === '' ? 'You are invited to a conversation' : `You are invited to ${room}`,
    blocks: [
      paragraph(
        `${inviter} (${inviterId}) invites you to ${room === '' ? 'a conversation' : `the room “${room}”`} on Matrix, an open network for messages and calls.`,
      ),
      paragraph(
        `Make an account on ${service} with the address ${address}, or add the address to one that you have there: the invitation waits for you.`,
      ),
      button(`To ${service}`, url),
      small('If you do not know who that is, you need not do anything.'),
    ],
    reason: `This mail was sent because a user of ${service} invited you by your address.`,
  }),
  newLogin: ({ device, ip, service, time, userId }) => ({
    subject: `New login to your account on ${service}`,
    preview: `${device}, ${time}`,
    heading: 'New login',
    blocks: [
      paragraph(`Someone has logged in to ${userId} on a device that was not known before.`),
      facts(['Device', device], ['Time', time], ['Address', ip]),
      paragraph('If that was you, all is well. If not, change your password at once, and log the device out.'),
    ],
    reason: `This mail was sent because your address belongs to an account on ${service}.`,
  }),
  expiry: ({ service, time, url, userId }) => ({
    subject: `Your account on ${service} is about to end`,
    preview: `${userId} can be used until ${time}.`,
    heading: 'Do you want to keep your account?',
    blocks: [
      paragraph(`The account ${userId} can be used until ${time}. If you want to keep it, say so:`),
      button('Keep the account', url),
    ],
    reason: `This mail was sent because your address belongs to an account on ${service}.`,
  }),
  digest: ({ room, rooms, sender, service, unsubscribeUrl, userId }) => ({
    subject:
      room === undefined
        ? `You have missed messages on ${service}`
        : sender === undefined || sender === room
          ? `You have missed messages: ${room}`
          : `You have missed messages of ${sender}: ${room}`,
    preview: `What ${userId} has not read yet.`,
    heading: 'You have missed messages',
    blocks: rooms,
    reason: `This mail was sent because ${userId} wants to be told of missed messages by mail.`,
    unsubscribe: { label: 'Do not send me such mails any more', url: unsubscribeUrl },
  }),
  encryptedMessage: '(an encrypted message)',
  sentImage: '(an image)',
  sentFile: '(a file)',
  sentVideo: '(a video)',
  sentAudio: '(a recording)',
  invitedYou: 'invites you',
  otherEvent: '(something that only an app can show)',
  moreMessages: (count) => (count === 1 ? 'and one more' : `and ${count} more`),
};
