import type { ChildServer } from '#test/support/child-server.ts';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { ask, must } from '#test/support/http.ts';
import type { Json } from '#test/support/in-process-server.ts';

export const VISIBILITIES = ['joined', 'invited', 'shared', 'world_readable'] as const;
export type Visibility = (typeof VISIBILITIES)[number];

/**
 * Everybody who asks, by what they have to do with the room. The barred have left, and were banned later; the puppet is a stranger in whose
 * name an application service asks.
 */
export const ROLES = [
  'stranger',
  'guest',
  'puppet',
  'invited',
  'declined',
  'knocked',
  'outlawed',
  'left',
  'kicked',
  'banned',
  'barred',
  'forgotten',
  'later',
] as const;
export type Role = (typeof ROLES)[number];

export interface Person {
  readonly userId: string;
  readonly token: string;
  /** The token is that of an application service, which says as whom it acts. */
  readonly isPuppet?: boolean;
}

/** The custom state event of which there is a version for each part of the room's life. */
export const SECRET_STATE = 'org.example.secret';

/** What was said is `secret-m<part>`, what the state held `secret-s<part>`. */
export const secretsIn = (text: string): string[] => [...new Set(text.match(/secret-[ms]\d/g))].toSorted();

const PARTS = [0, 1, 2, 3, 4];
/** The parts in which somebody was in the room, or invited. */
const JOINED_IN: Partial<Record<Role, readonly number[]>> = {
  left: [2],
  kicked: [2],
  banned: [2],
  barred: [2],
  later: [4],
};
const INVITED_IN: Partial<Record<Role, readonly number[]>> = {
  invited: [1, 2, 3, 4],
  declined: [1],
  left: [1],
  kicked: [1],
  banned: [1],
  barred: [1],
  later: [3],
};

/**
 * All that somebody may ever read of the room. Client-Server API, "Room history visibility". A state event tells of the one before it
 * (`prev_content`), and whoever joins finds the state as it is.
 */
export const readable = (visibility: Visibility, role: Role): readonly string[] => {
  const joined = JOINED_IN[role] ?? [];
  const last = Math.max(...joined);
  const said =
    visibility === 'world_readable'
      ? PARTS
      : visibility === 'shared'
        ? PARTS.filter((part) => part <= last)
        : visibility === 'invited'
          ? [...joined, ...(INVITED_IN[role] ?? [])]
          : joined;
  const held = said.length === 0 ? [] : [...said, Math.max(Math.min(...said) - 1, 0)];
  return [...said.map((part) => `secret-m${part}`), ...new Set(held.map((part) => `secret-s${part}`))].toSorted();
};

/** A private room with a life in five parts, and people who came and went between them. */
export interface RoomOfSecrets {
  readonly server: ChildServer;
  readonly roomId: string;
  readonly owner: Person;
  readonly people: Readonly<Record<Role, Person>>;
  /** A message of each part. */
  readonly messages: readonly string[];
  /** The state event of each part. */
  readonly states: readonly string[];
  /** Events that relate to messages of earlier parts, as `messages` by part. */
  readonly relating: readonly string[];
  /** Tokens of the owner's sync, before the first part and after the last. */
  readonly tokens: readonly [string, string];
  /** Of the beginning of part 0, in milliseconds. */
  readonly beginning: number;
}

let count = 0;

/** The application service of the puppet: it acts as any user, owns none, and is in no room. */
export const PUPPETEER = registrationOf('puppeteer', {
  namespaces: { users: [{ exclusive: false, regex: '@.*:localhost' }] },
});

const register = async (server: ChildServer, name: string): Promise<Person> => {
  const isGuest = name.startsWith('guest');
  const body = isGuest ? {} : { username: name, password: 'a password', auth: { type: 'm.login.dummy' } };
  const made = await must(server.url, 'POST', `/register${isGuest ? '?kind=guest' : ''}`, { body });
  const isPuppet = name.startsWith('puppet');
  return { userId: made.user_id, token: isPuppet ? PUPPETEER.as_token : made.access_token, isPuppet };
};

export const roomOfSecrets = async (server: ChildServer, visibility: Visibility): Promise<RoomOfSecrets> => {
  const suffix = `-${++count}`;
  const owner = await register(server, `owner${suffix}`);
  const people = Object.fromEntries(
    await Promise.all(ROLES.map(async (role) => [role, await register(server, `${role}${suffix}`)] as const)),
  ) as Record<Role, Person>;
  const by = (person: Person, method: string, path: string, body?: object): Promise<Json> =>
    must(server.url, method, path, { token: person.token, ...(body === undefined ? {} : { body }) });
  const { room_id: roomId } = await by(owner, 'POST', '/createRoom', {
    preset: 'private_chat',
    initial_state: [
      { type: 'm.room.history_visibility', content: { history_visibility: visibility } },
      { type: 'm.room.join_rules', content: { join_rule: 'knock' } },
    ],
  });
  const path = `/rooms/${roomId}`;
  const messages: string[] = [];
  const states: string[] = [];
  const relating: string[] = [];
  let txn = 0;
  const send = async (body: string, relation?: object): Promise<string> => {
    const content = {
      msgtype: 'm.text',
      body,
      ...(relation === undefined ? {} : { 'm.relates_to': relation, 'm.new_content': { msgtype: 'm.text', body } }),
    };
    return (await by(owner, 'PUT', `${path}/send/m.room.message/${++txn}`, content)).event_id;
  };
  const part = async (at: number): Promise<void> => {
    states.push((await by(owner, 'PUT', `${path}/state/${SECRET_STATE}/`, { text: `secret-s${at}` })).event_id);
    messages.push(await send(`secret-m${at}`));
    // An edit and a thread in which each part has something to say about the first message of every earlier one.
    for (const earlier of messages.slice(0, -1)) {
      relating.push(await send(`secret-m${at} edit`, { rel_type: 'm.replace', event_id: earlier }));
      relating.push(await send(`secret-m${at} thread`, { rel_type: 'm.thread', event_id: earlier }));
    }
  };
  const invite = (...roles: Role[]): Promise<Json> =>
    Promise.all(roles.map((role) => by(owner, 'POST', `${path}/invite`, { user_id: people[role].userId })));
  const join = (...roles: Role[]): Promise<Json> =>
    Promise.all(roles.map((role) => by(people[role], 'POST', `${path}/join`, {})));
  const end = (role: Role, what: string): Promise<Json> =>
    by(owner, 'POST', `${path}/${what}`, { user_id: people[role].userId });

  const beginning = Date.now();
  const { next_batch: start } = await by(owner, 'GET', '/sync');
  await part(0);
  await invite('invited', 'declined', 'left', 'kicked', 'banned', 'barred', 'forgotten');
  await by(people.knocked, 'POST', `/knock/${roomId}`, {});
  await end('outlawed', 'ban');
  await part(1);
  await by(people.declined, 'POST', `${path}/leave`, {});
  await join('left', 'kicked', 'banned', 'barred', 'forgotten');
  await part(2);
  await by(people.left, 'POST', `${path}/leave`, {});
  await by(people.barred, 'POST', `${path}/leave`, {});
  await end('kicked', 'kick');
  await end('banned', 'ban');
  await by(people.forgotten, 'POST', `${path}/leave`, {});
  await by(people.forgotten, 'POST', `${path}/forget`, {});
  await invite('later');
  await part(3);
  await join('later');
  await part(4);
  await end('barred', 'ban');
  const { next_batch: now } = await by(owner, 'GET', '/sync');
  return { server, roomId, owner, people, messages, states, relating, tokens: [start, now], beginning };
};

const inNameOf = ({ isPuppet, userId }: Person, path: string): string =>
  isPuppet === true ? `${path}${path.includes('?') ? '&' : '?'}user_id=${encodeURIComponent(userId)}` : path;

/** A request in the name of somebody. */
export const asks = (
  room: RoomOfSecrets,
  person: Person,
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; body: Json }> =>
  ask(room.server.url, method, inNameOf(person, path), {
    token: person.token,
    ...(body === undefined ? {} : { body }),
  });
