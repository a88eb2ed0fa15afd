import { formatMxcUri } from '#src/protocol/identifiers/identifiers.ts';
import { type PassThrough, Readable } from 'node:stream';
import { ZipFile } from 'yazl';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { UserReads } from '#src/services/admin/users/user-reads.ts';
import type { ContentStore } from '#src/services/media/content-store.ts';
import type { MediaModeration } from '#src/services/media/media-moderation.ts';
import { shownEvent } from '#src/services/policy/gate/policy-gate.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import type { MediaRecord } from '#src/storage/media/media.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { type HistoryPlace, sentEvents } from '#src/storage/rooms/sent-events.ts';

export interface UserArchiveOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly rooms: RoomRegistry;
  readonly reads: UserReads;
  readonly media: MediaModeration;
  readonly contents: ContentStore;
  readonly serverName: string;
}

/** What an archive has come to hold. */
export interface ArchiveCounts {
  rooms: number;
  events: number;
  files: number;
}

/** Events of a room that are looked at together. */
const PART = 500;
const MEDIA_PAGE = 100;

/**
 * Everything about one user as a ZIP archive: account, devices and rooms as JSON; the user's events as JSON Lines for each
 * room; the files that they uploaded. It is written while it is read, so that no part of it is held in memory.
 */
export class UserArchive {
  readonly #options: UserArchiveOptions;

  constructor(options: UserArchiveOptions) {
    this.#options = options;
  }

  /**
   * @param withFiles whether the files themselves are in it, and not only what they are
   * @param counts grows with what is written
   * @param signal ends it: the stream fails then
   */
  async pack(userId: string, withFiles: boolean, counts: ArchiveCounts, signal: AbortSignal): Promise<Readable> {
    const zip = new ZipFile();
    const out = zip.outputStream as PassThrough;
    const fail = (error: Error): void => void out.destroy(error);
    zip.on('error', fail);
    // It may fail before it is read: the reader gets the error then.
    out.on('error', () => undefined);
    const giveUp = (): void => fail(new Error('the archive was given up'));
    signal.addEventListener('abort', giveUp, { once: true });
    out.once('close', () => signal.removeEventListener('abort', giveUp));
    const json = (name: string, value: unknown): void =>
      zip.addBuffer(Buffer.from(`${JSON.stringify(value, undefined, 2)}\n`), name);
    const stream = (name: string, open: () => Promise<Readable>): void =>
      zip.addReadStreamLazy(name, {}, (taken) => {
        // The reader of the archive gets the error, and the task starts again.
        void open().then(
          // The archive does not look whether it fails.
          (content) => taken(undefined, content.on('error', fail)),
          (error: unknown) => taken(error, Readable.from([])),
        );
      });
    await this.#packAccount(userId, json);
    const memberships = await this.#options.reads.memberships(userId);
    json('rooms.json', memberships);
    for (const [index, roomId] of Object.keys(memberships).entries())
      stream(`events/${index + 1}.jsonl`, async () => Readable.from(this.#events(userId, roomId, counts, signal)));
    json(
      'events/index.json',
      Object.fromEntries(Object.keys(memberships).map((roomId, index) => [`${index + 1}.jsonl`, roomId])),
    );
    const described: JsonObject[] = [];
    for await (const media of this.#media(userId)) {
      described.push(mediaInfo(media, this.#options.serverName));
      if (withFiles) stream(`media/${media.mediaId}`, () => this.#file(media, counts));
    }
    json('media.json', described);
    zip.end();
    return out;
  }

  async #packAccount(userId: string, json: (name: string, value: unknown) => void): Promise<void> {
    const { reads } = this.#options;
    const { account, consent, externalIds, threepids, ...shown } = await reads.details(userId);
    json('account.json', {
      user_id: userId,
      created_ts: account.createdTs,
      admin: account.admin,
      guest: account.isGuest,
      deactivated: account.deactivated,
      locked: account.locked,
      suspended: account.suspended,
      user_type: account.userType,
      addresses: threepids.map(({ address, addedTs, medium, validatedTs }) => ({
        medium,
        address,
        added_ts: addedTs,
        validated_ts: validatedTs,
      })),
      identity_providers: externalIds.map(({ externalId, provider }) => ({ provider, id: externalId })),
      accepted_terms: consent ?? null,
    });
    json('profile.json', { displayname: shown.displayname ?? null, avatar_url: shown.avatarUrl ?? null });
    json('account_data.json', await reads.accountData(userId));
    const { devices } = await reads.devices(userId);
    json(
      'devices.json',
      devices.map((device) => ({
        device_id: device.deviceId,
        display_name: device.displayName,
        created_ts: device.createdTs,
        last_seen_ts: device.lastSeenTs,
        last_seen_ip: device.lastSeenIp,
        last_seen_user_agent: device.lastSeenUserAgent,
      })),
    );
    json('pushers.json', await reads.pushers(userId));
  }

  /** What the user sent into a room, the newest first: a line for each event. */
  async *#events(userId: string, roomId: string, counts: ArchiveCounts, signal: AbortSignal): AsyncGenerator<Buffer> {
    const { database, interner, loader, rooms } = this.#options;
    const room: Room | undefined = await rooms.heardOf(roomId);
    const sender = await interner.findUser(userId);
    if (room === undefined || sender === undefined) return;
    let before: HistoryPlace | undefined;
    do {
      signal.throwIfAborted();
      const page = await sentEvents(database, { room: room.nid, sender, before, redacted: true, scan: PART });
      const loaded = await loader.load(page.events.map(({ nid }) => ({ room, nid })));
      const lines = page.events.flatMap(({ nid }) => {
        const event = loaded.get(nid);
        return event === undefined ? [] : [`${JSON.stringify(shownEvent(event.eventId, roomId, event.pdu))}\n`];
      });
      counts.events += lines.length;
      if (lines.length > 0) yield Buffer.from(lines.join(''));
      before = page.next;
    } while (before !== undefined);
    counts.rooms += 1;
  }

  async *#media(userId: string): AsyncGenerator<MediaRecord> {
    for (let from = 0; ; from += MEDIA_PAGE) {
      const page = { order: 'created_ts', direction: 'f', from, limit: MEDIA_PAGE } as const;
      const { media } = await this.#options.media.ofUser(userId, page);
      yield* media;
      if (media.length < MEDIA_PAGE) return;
    }
  }

  /** A file; nothing where its bytes are there no longer. */
  async #file({ blob }: MediaRecord, counts: ArchiveCounts): Promise<Readable> {
    const content = blob === null ? undefined : await this.#options.contents.open(blob);
    if (content !== undefined) counts.files += 1;
    return content ?? Readable.from([]);
  }
}

const mediaInfo = (media: MediaRecord, serverName: string): JsonObject => ({
  mxc: formatMxcUri(serverName, media.mediaId),
  file: `media/${media.mediaId}`,
  filename: media.filename,
  content_type: media.contentType,
  bytes: media.size,
  created_ts: media.createdTs,
});
