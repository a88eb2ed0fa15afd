import { sendDigest } from '#src/jobs/definitions.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { languageOf } from '#src/kernel/text/language.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { thirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { LinkTokens } from '#src/services/accounts/validation/link-tokens.ts';
import type { MailSender } from '#src/services/mail/sending/mail-sender.ts';
import type { UserLanguages } from '#src/services/mail/sending/user-languages.ts';
import { ownerOfAddress } from '#src/storage/accounts/account-threepids.ts';
import type { Database } from '#src/storage/database.ts';
import {
  beginDigest,
  digestCandidates,
  type DigestRoom,
  digestRooms,
  digestState,
  finishDigest,
} from '#src/storage/mail/digests.ts';
import { digestContent } from './digest-content.ts';
import type { DigestPusher, DigestPushers, UnreadMessage, UnreadSource } from './ports.ts';

/** The path of the unsubscribe link: `?pusher=...&token=...` */
export const UNSUBSCRIBE_PATH = '/_tsudoi/email/unsubscribe';

/** `email.digests` */
export interface DigestTimes {
  /** All in milliseconds. */
  readonly delayMs: number;
  readonly firstPauseMs: number;
  readonly pauseFactor: number;
  readonly longestPauseMs: number;
  readonly calmMs: number;
}

export interface DigestServiceOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly sender: MailSender;
  readonly users: UserService;
  readonly languages: UserLanguages;
  readonly linkTokens: LinkTokens;
  readonly unread: UnreadSource;
  readonly pushers: DigestPushers;
  readonly times: DigestTimes;
}

const PAGE = 500;
const TOKEN_PURPOSE = 'unsubscribe';

/**
 * Mails users their unread messages, where they have a pusher of the kind `email`. A message waits for a while, in case that it is
 * read; then everything unread goes into one mail. The rooms in it pause, the longer the more often they were in a mail,
 * and the pause is reset after a calm time.
 */
export class DigestService {
  readonly #options: DigestServiceOptions;

  constructor(options: DigestServiceOptions) {
    this.#options = options;
  }

  /** Enqueues a job for each pusher with news in its rooms. @returns false when it was interrupted by the signal */
  async look(signal: AbortSignal): Promise<boolean> {
    const { database } = this.#options;
    for (let after = 0; ;) {
      if (signal.aborted) return false;
      const pushers = await digestCandidates(database, after, PAGE);
      const last = pushers.at(-1);
      if (last === undefined) return true;
      await database.write(async (tx) => {
        for (const pusher of pushers) await tx.enqueue(sendDigest, { pusher });
      });
      after = last;
    }
  }

  /**
   * Sends the mail of a pusher, if it is time for one.
   *
   * @throws Error when it is to be tried again
   */
  async send(id: number): Promise<void> {
    const { database, pushers, sender, times, unread } = this.#options;
    const pusher = await pushers.byId(id);
    if (pusher?.kind !== 'email' || !pusher.enabled) return;
    if ((await this.#options.users.account(pusher.userId))?.locked === true) return;
    const address = await this.#addressOf(pusher);
    if (address === undefined) {
      await pushers.remove(id);
      return;
    }
    const { toldTs, pendingTs } = (await digestState(database, id)) ?? { toldTs: pusher.createdTs, pendingTs: null };
    const rests = new Map((await digestRooms(database, id)).map((room) => [room.roomId, room]));
    const now = this.#options.clock.now();
    // Timestamps are those of senders: a message from the future is mailed then, and does not hold back others until then.
    const missed = (await unread.of(pusher.userId, toldTs)).filter(({ ts }) => ts <= now);
    if (pendingTs === null && !missed.some((message) => this.#isDue(message, rests))) return;
    // The content is stored before it is sent: a mail that is sent again is the same mail.
    const upTo = await beginDigest(
      database,
      id,
      toldTs,
      missed.reduce((latest, { ts }) => Math.max(latest, ts), toldTs),
    );
    const included = missed.filter(({ ts }) => ts <= upTo);
    if (included.length > 0) {
      const unsubscribeUrl = this.#unsubscribeUrl(id);
      const language = await this.#options.languages.of(pusher.userId, languageOf(pusher.lang));
      const { service } = sender;
      await sender.send({
        id: `digest ${id} ${upTo}`,
        kind: 'digest',
        to: address,
        language,
        content: digestContent(included, { language, service, userId: pusher.userId, unsubscribeUrl }),
        unsubscribeUrl,
      });
    }
    const rooms = [...new Set(included.map(({ roomId }) => roomId))].map((roomId): DigestRoom => ({
      roomId,
      toldTs: now,
      pauseMs: pauseAfter(rests.get(roomId), now, times),
    }));
    await database.write((tx) => finishDigest(tx, id, rooms));
  }

  /** Whether a message was unread for long enough, in a room that does not rest. */
  #isDue({ roomId, ts }: UnreadMessage, rests: ReadonlyMap<string, DigestRoom>): boolean {
    const { clock, times } = this.#options;
    const rest = rests.get(roomId);
    return clock.now() >= Math.max(ts + times.delayMs, rest === undefined ? 0 : rest.toldTs + rest.pauseMs);
  }

  /**
   * The user's address that the pusher names, in the form in which it was validated: in another spelling it may be another person's
   * mailbox. Undefined when it is not theirs any more, or the account cannot be used.
   */
  async #addressOf({ pushkey, userId }: DigestPusher): Promise<string | undefined> {
    const { database, users } = this.#options;
    const account = await users.account(userId);
    const id = thirdPartyId('email', pushkey);
    if (account === undefined || account.deactivated || id === undefined) return undefined;
    return (await ownerOfAddress(database, id)) === userId ? id.address : undefined;
  }

  #unsubscribeUrl(id: number): string {
    const { linkTokens, sender } = this.#options;
    const pusher = String(id);
    return sender.linkTo(UNSUBSCRIBE_PATH, { pusher, token: linkTokens.of(TOKEN_PURPOSE, pusher) });
  }

  /** Whether this is the link of a mail to that pusher. @throws MatrixError M_TOKEN_INCORRECT */
  assertLink(pusher: number, token: string): void {
    if (!this.#options.linkTokens.matches(token, TOKEN_PURPOSE, String(pusher)))
      throw new MatrixError('M_TOKEN_INCORRECT', 'This link is not complete: copy all of it out of the mail.');
  }

  /** Ends the mails to a pusher, without a login. Again is fine. RFC 8058. @throws MatrixError M_TOKEN_INCORRECT */
  async unsubscribe(pusher: number, token: string): Promise<void> {
    this.assertLink(pusher, token);
    await this.#options.pushers.remove(pusher);
  }
}

/** How long a room rests after a mail. */
const pauseAfter = (
  before: DigestRoom | undefined,
  now: number,
  { calmMs, firstPauseMs, longestPauseMs, pauseFactor }: DigestTimes,
): number =>
  before === undefined || before.toldTs + calmMs < now
    ? firstPauseMs
    : Math.min(Math.ceil(before.pauseMs * pauseFactor), longestPauseMs);
