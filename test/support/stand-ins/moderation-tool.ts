import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Json } from '#test/support/in-process-server.ts';
import { LoopbackServer } from './loopback-server.ts';

/** What the tool answers: a status and a body, or `hang` for nothing at all. */
export type ToolAnswer = readonly [status: number, body: unknown] | 'hang';

const PREFIX = '/api/1/spam_check/';
const USER = /^@[^:]*:.+$/;
const ROOM = /^!/;

const isText = (value: unknown, form = /^/): boolean => typeof value === 'string' && form.test(value);

/** What Draupnir's receiver takes, by callback. */
const SHAPES: Readonly<Record<string, (body: Json) => boolean>> = {
  ping: (body) => 'id' in body,
  user_may_invite: ({ invitee, inviter, room_id: room }) =>
    isText(inviter, USER) && isText(invitee, USER) && isText(room, ROOM),
  user_may_join_room: ({ is_invited: isInvited, room, user }) =>
    isText(user, USER) && isText(room, ROOM) && typeof isInvited === 'boolean',
  check_event_for_spam: ({ event }) =>
    isText(event?.event_id, /^\$/) &&
    isText(event.sender, USER) &&
    isText(event.type) &&
    isText(event.room_id, ROOM) &&
    Number.isInteger(event.origin_server_ts) &&
    typeof event.content === 'object',
};

/** The receiver of a moderation tool, as Draupnir has it: it knows one secret, and refuses what is not of the shape that it takes. */
export class ModerationTool extends LoopbackServer {
  static readonly SECRET = 'secret of the tool';
  /** What it was asked. */
  readonly asked: { readonly callback: string; readonly body: Json; readonly authorization: string | undefined }[] = [];
  /** What it answers by callback, where that is not 200. */
  readonly answers = new Map<string, (body: Json) => ToolAnswer | undefined | Promise<ToolAnswer | undefined>>();

  static async start(): Promise<ModerationTool> {
    const tool = new ModerationTool();
    await tool.listen();
    return tool;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}${PREFIX.slice(0, -1)}`;
  }

  /** What it was asked by a callback since `forget`. */
  of(callback: string): Json[] {
    return this.asked.flatMap((one) => (one.callback === callback ? [one.body] : []));
  }

  /** Refuses with Draupnir's body. */
  refuse(callback: string, errcode = 'M_FORBIDDEN', isMeant: (body: Json) => boolean = () => true): void {
    this.answers.set(callback, (body) => (isMeant(body) ? [400, { errcode, error: 'no.' }] : undefined));
  }

  /** Answers as it did in the beginning, and forgets what it was asked. */
  forget(): void {
    this.asked.length = 0;
    this.answers.clear();
  }

  async #answer(callback: string, body: Json, authorization: string | undefined): Promise<ToolAnswer> {
    if (authorization !== `Bearer ${ModerationTool.SECRET}`) return [401, 'Missing access token'];
    if (SHAPES[callback]?.(body) === false) return [400, { errcode: 'M_INVALID_PARAM', error: 'Error handling it' }];
    const answer = await this.answers.get(callback)?.(body);
    return answer ?? [200, callback === 'ping' ? { id: body.id, status: 'ok' } : {}];
  }

  protected async serve({ headers, url }: IncomingMessage, text: string, response: ServerResponse): Promise<void> {
    const callback = url?.startsWith(PREFIX) === true ? url.slice(PREFIX.length) : '';
    const { authorization } = headers;
    const body: Json = JSON.parse(text === '' ? '{}' : text);
    this.asked.push({ callback, body, authorization });
    const answer = await this.#answer(callback, body, authorization);
    if (answer === 'hang') return;
    const [status, content] = answer;
    if (typeof content === 'string') response.writeHead(status, { 'Content-Type': 'text/html' }).end(content);
    else response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(content));
  }
}
