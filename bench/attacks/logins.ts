import { requestText } from '../load/http.ts';
import { PASSWORD, type Crowd, type Person } from '../load/people.ts';
import { attack, type Attack, post, PROXY, STRANGERS, USERS, V3 } from './battlefield.ts';

const CHANGE = `${V3}/account/password`;
const SETUP = '/_tsudoi/setup';
/** Addresses that log in at once, all of them behind the proxy. */
const ADDRESSES = 700;

const passwordOf = (user: string, password: string): object => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user },
  password,
});

/** A login with a wrong password. */
export const guess = (user: string): object => passwordOf(user, 'a wrong guess');

/** Somebody ends their own account. */
const deactivate = (crowd: Crowd, { userId, token }: Person): Promise<unknown> =>
  crowd.json('POST', `${V3}/account/deactivate`, token, { auth: passwordOf(userId, PASSWORD) });

/** What users and strangers log in with. */
export const logins: readonly Attack[] = [
  attack(
    'F09',
    'strangers guess the password of one account',
    { expects: ['403', '429'], suffers: 'logins' },
    ({ owner }) =>
      (field) =>
        field.strangers(() => ['POST', `${V3}/login`, guess(owner.userId)]),
  ),
  attack(
    'F16',
    'users send the same completed authentication again',
    { expects: ['begun 401', 'again 200'], suffers: 'logins' },
    ({ users }) => {
      const sessions = new Map<number, Promise<string>>();
      const body = { new_password: PASSWORD, logout_devices: false };
      return (field) =>
        field.swarm(
          USERS,
          async (attacker) => {
            const { userId, token } = users[attacker]!;
            const begin = async (): Promise<string> => {
              const answer = await field.ask(attacker, requestText('POST', CHANGE, token, body), 'begun');
              return (JSON.parse(answer!.body.toString()) as { readonly session: string }).session;
            };
            if (!sessions.has(attacker)) sessions.set(attacker, begin());
            const auth = { ...passwordOf(userId, PASSWORD), session: await sessions.get(attacker) };
            await field.ask(attacker, requestText('POST', CHANGE, token, { ...body, auth }), 'again');
          },
          2,
        );
    },
  ),
  attack(
    'login.passwords',
    'users change their password again and again, each time with an authentication of its own',
    { expects: ['200'], suffers: 'logins' },
    () => (field) =>
      field.everyone(({ userId }) => {
        const auth = passwordOf(userId, PASSWORD);
        return ['POST', CHANGE, { new_password: PASSWORD, logout_devices: false, auth }];
      }),
  ),
  attack(
    'F23',
    'strangers try links for the first administrator, and the one with which there was one',
    { expects: ['used 403', 'guessed 403'], most: { 'used 200': 0, 'guessed 200': 0 } },
    async ({ crowd, setupLink }) => {
      const token = new URL(setupLink()!, 'http://localhost').searchParams.get('token');
      const made = (username: string, by: unknown = token): object => ({ token: by, username, password: PASSWORD });
      await crowd.json('POST', SETUP, undefined, made('first'));
      await deactivate(crowd, await crowd.logIn('first'));
      // It dies with its first use, and not only with the process that showed it.
      const { status } = await crowd.answer('POST', SETUP, undefined, made('second'));
      return (field) => {
        field.note(String(status), 'used');
        return field.strangers((_, round) =>
          round % 2 === 0
            ? ['POST', SETUP, made(`third${round}`), 'used']
            : ['POST', SETUP, made(`third${round}`, `guess${round}`), 'guessed'],
        );
      };
    },
  ),
  attack(
    'F32',
    'seven hundred addresses log in, each to another account',
    { expects: ['403'], suffers: 'logins' },
    () => (field) =>
      field.swarm(ADDRESSES, (stranger, round) => {
        const from = `X-Forwarded-For: 198.51.${Math.floor(stranger / 100)}.${stranger % 100}\r\n`;
        return field.askOnce(stranger, post(`${V3}/login`, guess(`@name${round}:localhost`), from), PROXY);
      }),
  ),
  attack(
    'F33',
    'strangers log in to accounts that are no more, that never were, and that are',
    { expects: ['gone 403', 'never 403', 'there 403'], most: { 'told apart': 0 }, suffers: 'logins' },
    async ({ crowd }) => {
      const [gone, there] = [await crowd.people(USERS), await crowd.people(USERS)];
      for (const person of gone) await deactivate(crowd, person);
      return (field) => {
        const told = new Set<string>();
        return field.swarm(STRANGERS, async (stranger, round) => {
          const [kind, user] = (
            [
              ['gone', gone[round % USERS]!.userId],
              ['never', `@never${round % USERS}:localhost`],
              ['there', there[round % USERS]!.userId],
            ] as const
          )[round % 3]!;
          const request = requestText('POST', `${V3}/login`, undefined, guess(user));
          const answer = await field.ask(stranger, request, kind);
          if (answer?.status === 403) told.add(answer.body.toString());
          if (told.size > 1) field.note('told apart');
        });
      };
    },
  ),
  attack(
    'login.names',
    'strangers ask whether names are free',
    { expects: ['200'] },
    () => (field) => field.strangers((_, round) => ['GET', `${V3}/register/available?username=name${round}`]),
  ),
  attack(
    'login.sessions',
    'strangers begin to register, and do not go on',
    { expects: ['401'] },
    () => (field) =>
      field.strangers((_, round) => [
        'POST',
        `${V3}/register`,
        { username: `begun${round}`, password: 'a long enough one' },
      ]),
  ),
];
