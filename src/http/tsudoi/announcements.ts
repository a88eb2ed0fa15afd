import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Announcements } from '#src/services/admin/notices/announcements.ts';
import { actorOf } from '../actor.ts';
import { anyObject } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';

interface Services {
  readonly announcements: Announcements;
}

export const announcementEndpoints = [
  endpoint({
    operationId: 'adminSendAnnouncement',
    summary: 'Begins to tell all users of this server something, as server notices: a task.',
    method: 'POST',
    path: '/_tsudoi/admin/v1/announcements',
    ...OF_ADMINISTRATORS,
    memberEvents: ['join', 'invite', 'profile'],
    body: Type.Object({
      /** Of m.room.message. */
      content: anyObject,
      /** Translations by language (`ja`). */
      translations: Type.Optional(Type.Record(Type.String(), anyObject)),
    }),
    eventBody: 'one',
    response: Type.Object({ task_id: Type.String() }),
    errcodes: ['M_UNKNOWN', 'M_TOO_LARGE'],
    handler: async ({ announcements }: Services, { requester, info, body: { content, translations = {} } }) => ({
      task_id: await announcements.announce(actorOf(requester, info), {
        content: content as JsonObject,
        translations: translations as Record<string, JsonObject>,
      }),
    }),
  }),
];
