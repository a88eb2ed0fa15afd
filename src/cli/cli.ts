import { parseArgs, type ParseArgsConfig } from 'node:util';
import { audit } from './audit.ts';
import { appservice } from './appservice.ts';
import { USER_COMMANDS, type UserCommand, userCommand } from './administration.ts';
import { doctor } from './doctor.ts';
import type { CliPorts } from './ports.ts';
import { registrationToken } from './registration-token.ts';
import { roomCommand } from './rooms.ts';
import { registerUser } from './register-user.ts';

export type { CliConfig, CliPorts } from './ports.ts';

const HELP = `tsudoi: a Matrix homeserver

  tsudoi start           [--config FILE]...   run the server
  tsudoi config check    [--config FILE]...   say what is wrong with the configuration, without starting
  tsudoi register-user   [--config FILE]... --user NAME [--admin] [--password-file FILE] [--url URL]
                                              make an account on the running server (needs registration.shared_secret)
  tsudoi registration-token create|list|delete [--config FILE]... [--token TOKEN] [--uses N] [--days N]
                         [--access-token-file FILE] [--url URL]
                                              give out tokens to register with on the running server, as an administrator
  tsudoi audit           [--config FILE]... [--actor USER] [--action NOUN.VERB] [--target NAME] [--room ROOM] [--days N] [--limit N]
                         [--access-token-file FILE] [--url URL]
                                              show what administrators did, the newest first, from the running server
  tsudoi appservice add|list|remove [--config FILE]... [--file FILE] [--id ID] [--access-token-file FILE] [--url URL]
                                              register bridges and bots on the running server, as an administrator
  tsudoi appservice generate [--config FILE]... --id ID [--sender NAME] [--appservice-url URL] [--users REGEX]...
                         [--aliases REGEX]... [--double-puppet]
                                              write a registration with tokens of its own
  tsudoi user reset-password|make-admin|unmake-admin|lock|unlock|suspend|unsuspend|deactivate --user NAME
                         [--config FILE]... [--password-file FILE] [--keep-devices] [--erase]
                                              change an account while the server is stopped; the audit log tells of it
  tsudoi user list       [--config FILE]... [--user PART]
                                              list accounts, while the server is stopped
  tsudoi room delete     [--config FILE]... --room ROOM_ID [--block] [--force]
  tsudoi room purge-history [--config FILE]... --room ROOM_ID --days N [--delete-local]
                                              have a room deleted, or what is older purged, by the server when it starts again
  tsudoi doctor          [--config FILE]... [--url URL] [--json]
                                              look at configuration, files, database, queues, network and running server, and explain;
                                              exit code 1 if something is wrong
  tsudoi import-archive  [--config FILE]... FILE
                                              put archived events of a room back, while the server is stopped
  tsudoi move-media      [--config FILE]...   move media from files to the object store, while the server is stopped; may be interrupted
                                              and called again
  tsudoi database        [--config FILE]...   run the embedded database alone, for tools of PostgreSQL, until Ctrl-C
  tsudoi rotate-signing-key [--config FILE]...
                                              sign with a new key from the next start on, while the server is stopped; what was signed stays good
  tsudoi generate                             for developers: write config/schema.json and spec/ anew

--config may be repeated, later files win; a directory means its *.yaml files in order. Every key can be set in the
environment too: TSUDOI_HTTP__PORT=8009, or TSUDOI_DATABASE__URL_FILE=/run/secrets/database. config/default.yaml lists them.
`;

const OPTIONS = {
  config: { type: 'string', multiple: true, short: 'c' },
  help: { type: 'boolean', short: 'h' },
  url: { type: 'string' },
  user: { type: 'string', short: 'u' },
  admin: { type: 'boolean' },
  'password-file': { type: 'string' },
  token: { type: 'string' },
  uses: { type: 'string' },
  days: { type: 'string' },
  'access-token-file': { type: 'string' },
  actor: { type: 'string' },
  action: { type: 'string' },
  target: { type: 'string' },
  room: { type: 'string' },
  limit: { type: 'string' },
  file: { type: 'string' },
  id: { type: 'string' },
  sender: { type: 'string' },
  'appservice-url': { type: 'string' },
  users: { type: 'string', multiple: true },
  aliases: { type: 'string', multiple: true },
  'double-puppet': { type: 'boolean' },
  json: { type: 'boolean' },
  'keep-devices': { type: 'boolean' },
  erase: { type: 'boolean' },
  block: { type: 'boolean' },
  force: { type: 'boolean' },
  'delete-local': { type: 'boolean' },
} as const satisfies ParseArgsConfig['options'];

type OptionName = keyof typeof OPTIONS;

/** Options of commands about accounts, beside the account. */
const USER_OPTIONS: Readonly<Partial<Record<UserCommand, readonly OptionName[]>>> = {
  'reset-password': ['user', 'password-file', 'keep-devices'],
  deactivate: ['user', 'erase'],
};

/** Which options a command knows, beside --config and --help. */
const COMMANDS: Readonly<Record<string, readonly OptionName[]>> = {
  start: [],
  'config check': [],
  'register-user': ['url', 'user', 'admin', 'password-file'],
  'registration-token create': ['token', 'uses', 'days', 'access-token-file', 'url'],
  'registration-token list': ['access-token-file', 'url'],
  'registration-token delete': ['token', 'access-token-file', 'url'],
  audit: ['actor', 'action', 'target', 'room', 'days', 'limit', 'access-token-file', 'url'],
  'appservice add': ['file', 'access-token-file', 'url'],
  'appservice list': ['access-token-file', 'url'],
  'appservice remove': ['id', 'access-token-file', 'url'],
  'appservice generate': ['id', 'sender', 'appservice-url', 'users', 'aliases', 'double-puppet'],
  ...Object.fromEntries(USER_COMMANDS.map((name) => [`user ${name}`, USER_OPTIONS[name] ?? ['user']])),
  'room delete': ['room', 'block', 'force'],
  'room purge-history': ['room', 'days', 'delete-local'],
  doctor: ['url', 'json'],
  'import-archive': [],
  'move-media': [],
  database: [],
  'rotate-signing-key': [],
  generate: [],
};

/**
 * Runs the command that `argv` names.
 *
 * @returns the exit code: 0 success, 1 the command failed, 2 it was called wrongly
 */
export async function runCli(argv: readonly string[], ports: CliPorts): Promise<number> {
  let parsed;
  try {
    parsed = parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    ports.err(`${(error as Error).message}\nSee tsudoi --help.\n`);
    return 2;
  }
  const { values, positionals } = parsed;
  const [first, path] = positionals;
  const takesPath = first === 'import-archive' && positionals.length === 2;
  const command = takesPath ? first : positionals.join(' ');
  if (values.help === true || command === 'help') {
    ports.out(HELP);
    return 0;
  }
  const known = COMMANDS[command];
  if (known === undefined) {
    ports.err(command === '' ? HELP : `tsudoi knows no command "${command}".\n\n${HELP}`);
    return 2;
  }
  const foreign = Object.keys(values).find((name) => name !== 'config' && !known.includes(name as OptionName));
  if (foreign !== undefined) {
    ports.err(`tsudoi ${command} takes no --${foreign}.\nSee tsudoi --help.\n`);
    return 2;
  }
  if (command === 'import-archive' && path === undefined) {
    ports.err('tsudoi import-archive needs the file to read.\nSee tsudoi --help.\n');
    return 2;
  }
  const files = values.config ?? [];
  try {
    if (first === 'user')
      return await userCommand(ports, files, positionals[1] as UserCommand, {
        user: values.user,
        passwordFile: values['password-file'],
        keepDevices: values['keep-devices'] === true,
        erase: values.erase === true,
      });
    switch (command) {
      case 'room delete':
      case 'room purge-history':
        return await roomCommand(ports, files, positionals[1] as 'delete' | 'purge-history', {
          room: values.room,
          block: values.block === true,
          force: values.force === true,
          days: values.days,
          deleteLocal: values['delete-local'] === true,
        });
      case 'start':
        return await ports.start(files);
      case 'config check': {
        const config = ports.loadConfig(files);
        ports.out(`The configuration is good. server_name: ${config.serverName}\n`);
        return 0;
      }
      case 'register-user':
        return await registerUser(ports, files, {
          user: values.user,
          admin: values.admin === true,
          passwordFile: values['password-file'],
          url: values.url,
        });
      case 'registration-token create':
      case 'registration-token list':
      case 'registration-token delete':
        return await registrationToken(ports, files, positionals[1] as 'create' | 'list' | 'delete', {
          token: values.token,
          uses: values.uses,
          days: values.days,
          accessTokenFile: values['access-token-file'],
          url: values.url,
        });
      case 'audit':
        return await audit(ports, files, {
          actor: values.actor,
          action: values.action,
          target: values.target,
          room: values.room,
          days: values.days,
          limit: values.limit,
          accessTokenFile: values['access-token-file'],
          url: values.url,
        });
      case 'appservice add':
      case 'appservice list':
      case 'appservice remove':
      case 'appservice generate':
        return await appservice(ports, files, positionals[1] as 'add' | 'list' | 'remove' | 'generate', {
          file: values.file,
          id: values.id,
          sender: values.sender,
          appserviceUrl: values['appservice-url'],
          users: values.users,
          aliases: values.aliases,
          doublePuppet: values['double-puppet'] === true,
          accessTokenFile: values['access-token-file'],
          url: values.url,
        });
      case 'import-archive':
        ports.out(`${await ports.importArchive(files, path ?? '')}\n`);
        return 0;
      case 'move-media':
        ports.out(`${await ports.moveMedia(files)}\n`);
        return 0;
      case 'database':
        await ports.runDatabase(files, (url) =>
          ports.out(
            `The embedded database runs, and the server does not. Ctrl-C ends it. Its superuser connects to:\n${url}\n`,
          ),
        );
        return 0;
      case 'rotate-signing-key':
        ports.out(`${await ports.rotateSigningKey(files)}\n`);
        return 0;
      case 'doctor':
        return await doctor(ports, files, { url: values.url, json: values.json === true });
      default: {
        const written = await ports.generate();
        ports.out(written.length === 0 ? 'Everything was fresh.\n' : written.map((path) => `wrote ${path}\n`).join(''));
        return 0;
      }
    }
  } catch (error) {
    ports.err(`${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}
