import { isIP } from 'node:net';
import { type MailAddress, SmtpClient } from '#src/remote/smtp/smtp-client.ts';
import { DigestService } from '#src/services/mail/digests/digest-service.ts';
import { InvitationMails } from '#src/services/mail/invitations/invitation-mails.ts';
import { ExpiryNotices } from '#src/services/mail/notices/expiry-notices.ts';
import { LoginNotices } from '#src/services/mail/notices/login-notices.ts';
import { UserLanguages } from '#src/services/mail/sending/user-languages.ts';
import { MailSender } from '#src/services/mail/sending/mail-sender.ts';
import { ValidationMails } from '#src/services/mail/validation/validation-mails.ts';
import { parseServerName } from '#src/protocol/identifiers/server-name.ts';
import type { Config } from '../config/config.ts';
import type { Platform } from '../ground/platform.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';
import type { Accounts } from './accounts.ts';
import type { Memberships } from './membership.ts';
import type { Outbound } from './outbound.ts';
import type { Push } from './push.ts';
import type { RoomModel } from './room-model.ts';
import type { UserData } from './user-data.ts';
import type { Users } from './users.ts';

/** Mails of this server. */
export interface Mails {
  readonly mailSender: MailSender;
  readonly validationMails: ValidationMails;
  readonly invitationMails: InvitationMails;
  readonly loginNotices: LoginNotices;
  readonly expiryNotices: ExpiryNotices;
  readonly digests: DigestService;
}

export function composeMail(
  below: Platform & ServerFiles & Outbound & Users & Accounts & UserData & RoomModel & Memberships & Push,
): Slice<Mails> {
  const {
    accountValidity,
    addressValidation,
    clock,
    config,
    database,
    linkTokens,
    logger,
    metrics,
    publicAddress,
    rateLimiter,
    users,
  } = below;
  const { accountData, missedMessages, profileSource, pushers, rooms } = below;
  const { email } = config;
  const client = smtpClient(below);
  const from = mailboxOf(email.from ?? `noreply@${config.serverName}`);
  const mailSender = new MailSender({
    database,
    clock,
    logger,
    metrics,
    client,
    from,
    envelopeFrom: email.envelopeFrom ?? from.address,
    service: serviceName(config),
    domain: mailDomain(config.serverName),
    publicBaseUrl: () => publicAddress.url,
  });
  const languages = new UserLanguages(accountData, email.language);
  return {
    name: 'mail',
    services: {
      mailSender,
      validationMails: new ValidationMails({
        database,
        sender: mailSender,
        validation: addressValidation,
        lifetimeMs: email.tokenLifetimeMs,
      }),
      invitationMails: new InvitationMails({
        database,
        rooms,
        profiles: profileSource,
        rateLimiter,
        languages,
        sender: mailSender,
      }),
      expiryNotices: new ExpiryNotices({
        database,
        clock,
        validity: accountValidity,
        languages,
        sender: mailSender,
        noticeMs: email.expiryNoticeMs,
      }),
      loginNotices: new LoginNotices({ database, languages, sender: mailSender }),
      digests: new DigestService({
        database,
        clock,
        sender: mailSender,
        users,
        languages,
        linkTokens,
        unread: missedMessages,
        pushers,
        times: email.digests,
      }),
    },
    close: () => client?.close(),
  };
}

/** The client of the mail server; undefined where none is configured. */
export const smtpClient = ({
  config: { email, serverName },
  certificateAuthorities,
  timers,
}: Pick<Platform & ServerFiles, 'certificateAuthorities' | 'timers'> & {
  readonly config: Pick<Config, 'email' | 'serverName'>;
}): SmtpClient | undefined => {
  const {
    maxConnections,
    maxPerSecond,
    password,
    smtpUrl: url,
    starttls,
    timeoutMs,
    username,
    verifyCertificate,
  } = email;
  if (url === null) return undefined;
  const tls = { starttls, verifyCertificate, certificateAuthorities };
  const ownName = mailDomain(serverName);
  return new SmtpClient({ url, username, password, ...tls, timeoutMs, maxConnections, maxPerSecond, ownName }, timers);
};

const serviceName = ({ email, serverName }: Config): string => email.serviceName ?? serverName;

/** A server's name as mail has it: addresses stand in brackets. RFC 5321, 4.1.3. */
const mailDomain = (serverName: string): string => {
  const host = (parseServerName(serverName)?.host ?? serverName).replace(/^\[|\]$/g, '');
  return isIP(host) === 0 ? host : `[${isIP(host) === 6 ? 'IPv6:' : ''}${host}]`;
};

/** `Name <address>`, or an address alone. */
const mailboxOf = (text: string): MailAddress => {
  const [, name = '', address = text] = /^([^<]*)<([^>]*)>$/.exec(text) ?? [];
  return { name: name.trim().replace(/^"|"$/g, ''), address: address.trim() };
};
