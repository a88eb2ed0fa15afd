import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { localAddress, type CliPorts } from './ports.ts';
import { request } from './server-request.ts';

export interface RegisterUserOptions {
  readonly user: string | undefined;
  readonly admin: boolean;
  readonly passwordFile: string | undefined;
  readonly url: string | undefined;
}

/** Makes an account through `/_synapse/admin/v1/register` of the running server: a nonce, answered with an HMAC of the shared secret. */
export async function registerUser(
  ports: CliPorts,
  files: readonly string[],
  options: RegisterUserOptions,
): Promise<number> {
  if (options.user === undefined || options.user === '') {
    ports.err('register-user needs --user NAME.\n');
    return 2;
  }
  const config = ports.loadConfig(files);
  const secret = config.registration.sharedSecret;
  if (secret === null) {
    ports.err(
      'registration.shared_secret is not set. Set it (in a file of --config, or as TSUDOI_REGISTRATION__SHARED_SECRET_FILE), ' +
        'start the server with it, and call this again with the same configuration.\n',
    );
    return 1;
  }
  const password =
    options.passwordFile === undefined
      ? await ports.askSecret(`Password for ${options.user}: `)
      : (await readFile(options.passwordFile, 'utf8')).replace(/\r?\n$/, '');
  if (password === '') {
    ports.err('The password must not be empty.\n');
    return 1;
  }

  const url = `${(options.url ?? localAddress(config)).replace(/\/+$/, '')}/_synapse/admin/v1/register`;
  const { nonce } = (await request('GET', url)) as { nonce: string };
  const fields = [nonce, options.user, password, options.admin ? 'admin' : 'notadmin'];
  const mac = createHmac('sha1', secret).update(fields.join('\0')).digest('hex');
  const made = (await request('POST', url, { nonce, username: options.user, password, admin: options.admin, mac })) as {
    user_id?: string;
  };
  ports.out(`${made.user_id ?? options.user} is registered${options.admin ? ' as an administrator' : ''}.\n`);
  return 0;
}
