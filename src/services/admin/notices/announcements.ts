import type { Language } from '#src/kernel/text/language.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import type { Task, TaskContext, TaskKind } from '#src/services/admin/tasks/task.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import { announcementRecipients } from '#src/storage/admin/server-notices.ts';
import type { Database } from '#src/storage/database.ts';
import type { ServerNotices } from './server-notices.ts';

/** Users that are read at once. */
const BATCH_SIZE = 100;

export type AnnouncementParams = {
  readonly content: JsonObject;
  /** By language, in place of `content`. */
  readonly translations: { readonly [language: string]: JsonObject };
};

export type AnnouncementResult = {
  readonly sent: number;
  readonly failed: number;
  /** The last user who was told. */
  readonly last: string;
};

export interface AnnouncementsOptions {
  readonly database: Database;
  readonly logger: Logger;
  readonly tasks: AdminTasks;
  readonly notices: ServerNotices;
}

/** Sends a server notice to every user of the server, as a task. */
export class Announcements implements TaskKind<AnnouncementParams, AnnouncementResult> {
  readonly action = 'send_announcement';
  readonly #options: AnnouncementsOptions;

  constructor(options: AnnouncementsOptions) {
    this.#options = options;
  }

  /** @returns the task's id. @throws MatrixError M_UNKNOWN where notices are not configured */
  async announce(actor: Actor, params: AnnouncementParams): Promise<string> {
    const { database, notices, tasks } = this.#options;
    notices.assertEnabled();
    return database.write((tx) =>
      tasks.start(tx, actor, this, { resource: 'announcements', params, entry: { action: 'announcement.send' } }),
    );
  }

  async run(
    { id, params, result }: Task<AnnouncementParams, AnnouncementResult>,
    { note, signal }: TaskContext<AnnouncementResult>,
  ): Promise<AnnouncementResult | 'interrupted'> {
    const { database, logger, notices } = this.#options;
    let { failed = 0, last = '', sent = 0 } = result;
    const noticeIn = (language: Language) => ({
      type: 'm.room.message',
      content: params.translations[language] ?? params.content,
    });
    for (;;) {
      const users = await announcementRecipients(database, last, BATCH_SIZE);
      for (const userId of users) {
        if (signal.aborted) return 'interrupted';
        try {
          if (userId !== notices.sender) {
            await notices.tell(userId, noticeIn, `announcement ${id}`);
            sent += 1;
          }
        } catch (err) {
          // A user who cannot be notified does not stop the others.
          if (!(err instanceof MatrixError) || err.status >= 500) throw err;
          logger.warn('an announcement could not be sent to a user', { task: id, user_id: userId, err });
          failed += 1;
        }
        last = userId;
        await note(undefined, { sent, failed, last });
      }
      if (users.length < BATCH_SIZE) return { sent, failed, last };
    }
  }
}
