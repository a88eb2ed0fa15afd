import { readFile } from 'node:fs/promises';
import type { UserListing } from '#src/services/admin/users/user-listing.ts';
import { OPERATOR } from '#src/services/audit/actor.ts';
import type { Administration, CliPorts } from './ports.ts';

export const USER_COMMANDS = [
  'list',
  'reset-password',
  'make-admin',
  'unmake-admin',
  'lock',
  'unlock',
  'suspend',
  'unsuspend',
  'deactivate',
] as const;

export type UserCommand = (typeof USER_COMMANDS)[number];

export interface UserCommandOptions {
  /** A user id, or its localpart. For `list` a part of it. */
  readonly user: string | undefined;
  readonly passwordFile: string | undefined;
  readonly keepDevices: boolean;
  readonly erase: boolean;
}

const PAGE = 500;

/** Does something to an account, or lists them, while the server is stopped: no console and no token is needed for it. */
export async function userCommand(
  ports: CliPorts,
  files: readonly string[],
  what: UserCommand,
  options: UserCommandOptions,
): Promise<number> {
  const { erase, keepDevices, passwordFile, user } = options;
  if (what !== 'list' && (user === undefined || user === '')) {
    ports.err(`user ${what} needs --user NAME.\n`);
    return 2;
  }
  const password = what === 'reset-password' ? await newPassword(ports, user ?? '', passwordFile) : '';
  if (what === 'reset-password' && password === '') {
    ports.err('The password must not be empty.\n');
    return 1;
  }
  return ports.administrate(files, async ({ listing, serverName, users }) => {
    if (what === 'list') return list(ports, listing, user);
    const userId = user?.startsWith('@') === true ? user : `@${user}:${serverName}`;
    switch (what) {
      case 'reset-password':
        await users.resetPassword(OPERATOR, userId, password, !keepDevices);
        ports.out(
          `${userId} has the new password${keepDevices ? ', and stays logged in' : ' and is logged out everywhere'}.\n`,
        );
        break;
      case 'make-admin':
      case 'unmake-admin':
        await users.setAdmin(OPERATOR, userId, what === 'make-admin');
        ports.out(`${userId} is ${what === 'make-admin' ? 'an' : 'no'} administrator.\n`);
        break;
      case 'lock':
      case 'unlock':
        await users.lock(OPERATOR, userId, what === 'lock');
        ports.out(`${userId} is ${what === 'lock' ? 'locked' : 'not locked'}.\n`);
        break;
      case 'suspend':
      case 'unsuspend':
        await users.suspend(OPERATOR, userId, what === 'suspend');
        ports.out(`${userId} is ${what === 'suspend' ? 'suspended' : 'not suspended'}.\n`);
        break;
      default:
        await users.deactivate(OPERATOR, userId, erase);
        ports.out(
          `${userId} is deactivated${erase ? ' and erased' : ''}. Rooms are left, and what else follows is done, when the server starts.\n`,
        );
    }
    return 0;
  });
}

async function newPassword(ports: CliPorts, user: string, file: string | undefined): Promise<string> {
  return file === undefined
    ? ports.askSecret(`New password for ${user}: `)
    : (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
}

async function list(ports: CliPorts, listing: Administration['listing'], part: string | undefined): Promise<number> {
  for (let from: number | undefined = 0; from !== undefined;) {
    const page = await listing.page({ userId: part }, { order: 'name', direction: 'f', from, limit: PAGE });
    for (const user of page.users) ports.out(`${lineOf(user)}\n`);
    from = page.next;
  }
  return 0;
}

const lineOf = (user: Awaited<ReturnType<UserListing['page']>>['users'][number]): string => {
  const marks = (['admin', 'isGuest', 'locked', 'deactivated', 'erased', 'shadowBanned'] as const).filter(
    (mark) => user[mark],
  );
  const words = marks.map((mark) => ({ isGuest: 'guest', shadowBanned: 'shadow-banned' })[mark as string] ?? mark);
  return [user.userId, ...(words.length === 0 ? [] : [words.join(' ')])].join('  ');
};
