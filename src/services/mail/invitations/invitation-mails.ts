import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { MailSender } from '#src/services/mail/sending/mail-sender.ts';
import type { UserLanguages } from '#src/services/mail/sending/user-languages.ts';
import { mailTexts } from '#src/services/mail/templates/languages.ts';
import { shownName } from '#src/services/mail/templates/shown-text.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { findThirdPartyInvite } from '#src/storage/rooms/third-party-invites.ts';

export interface InvitationMailsOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly profiles: { profileOf(userId: string): Promise<{ readonly displayname?: string | undefined }> };
  readonly languages: UserLanguages;
  readonly sender: MailSender;
  readonly rateLimiter: RateLimiter;
}

/** The group of `rate_limits` that counts all mails to one address. */
const MAILS = 'mail_address';

/** The mails to people who were invited by address. They did not ask for mail, so names of others must not carry advertisements. */
export class InvitationMails {
  readonly #options: InvitationMailsOptions;

  constructor(options: InvitationMailsOptions) {
    this.#options = options;
  }

  /** Mails an invitee. An invitation that was revoked or redeemed meanwhile needs no mail. @throws Error when it is to be tried again */
  async send(token: string): Promise<void> {
    const { database, languages, profiles, rateLimiter, rooms, sender } = this.#options;
    const invite = await findThirdPartyInvite(database, token);
    if (invite === undefined || invite.claimedBy !== null || invite.medium !== 'email') return;
    const { address, inviter: inviterId, roomId } = invite;
    // An address that is invited by many gets a few mails: the other invitations wait without one.
    if (!rateLimiter.take(MAILS, address).ok) return;
    const room = await rooms.byId(roomId);
    const { displayname } = await profiles.profileOf(inviterId);
    // Nothing is known of the invitee: who invites them most likely shares a language with them.
    const language = await languages.of(inviterId);
    const content = mailTexts(language).invitation({
      service: sender.service,
      address,
      inviter: shownName(displayname, inviterId),
      inviterId,
      room: shownName(room?.stateText('m.room.name', 'name'), ''),
      url: sender.homeUrl,
    });
    await sender.send({ id: `invitation ${token}`, kind: 'invitation', to: address, language, content });
  }
}
