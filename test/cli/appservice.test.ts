import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { parse } from 'yaml';
import { type CliPorts, runCli } from '#src/cli/cli.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

describe('tsudoi appservice', () => {
  let server: InProcessServer;
  let folder: string;
  before(async () => {
    server = await InProcessServer.start();
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-cli-'));
  });
  after(async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  });

  /** Runs a command with the token of an administrator. */
  const run = async (
    ...argv: string[]
  ): Promise<{ readonly code: number; readonly out: string; readonly err: string }> => {
    const said = { out: '', err: '' };
    const ports = {
      out: (text: string) => void (said.out += text),
      err: (text: string) => void (said.err += text),
      askSecret: async () => `${(await server.session('admin-ann')).token}\n`,
      loadConfig: () => ({ serverName: server.serverName }),
    } as unknown as CliPorts;
    return { code: await runCli(argv, ports), ...said };
  };
  const write = async (name: string, text: string): Promise<string> => {
    const file = join(folder, name);
    await writeFile(file, text);
    return file;
  };

  it('writes registrations that add takes, with tokens of their own', async () => {
    const made = await run(
      'appservice',
      'generate',
      '--id',
      'irc',
      '--sender',
      '_irc',
      '--users',
      '@_irc_.*',
      '--appservice-url',
      'http://127.0.0.1:1',
    );
    expect(made.code).to.equal(0);
    const registration = parse(made.out);
    expect(registration).to.deep.include({
      id: 'irc',
      url: 'http://127.0.0.1:1',
      sender_localpart: '_irc',
      rate_limited: false,
    });
    expect(registration.namespaces.users).to.deep.equal([{ exclusive: true, regex: '@_irc_.*' }]);
    expect(new Set([registration.as_token, registration.hs_token]).size).to.equal(2);
    const added = await run('appservice', 'add', '--file', await write('irc.yaml', made.out), '--url', server.url);
    expect([added.code, added.out]).to.deep.equal([
      0,
      'irc  @_irc:test, http://127.0.0.1:1, registered by an administrator\n',
    ]);
    expect((await server.ask(registration.as_token, 'GET', '/account/whoami')).body.user_id).to.equal('@_irc:test');
  });

  it('writes one for bridges that act as everybody, which is sent nothing', async () => {
    const made = parse((await run('appservice', 'generate', '--id', 'puppet', '--double-puppet')).out);
    expect(made.url).to.equal(null);
    expect(made.namespaces.users).to.deep.equal([{ exclusive: false, regex: '@.*:test' }]);
    await run('appservice', 'add', '--file', await write('puppet.yaml', JSON.stringify(made)), '--url', server.url);
    await server.account('alice');
    const who = await server.ask(made.as_token, 'GET', '/account/whoami?user_id=@alice:test');
    expect(who.body.user_id).to.equal('@alice:test');
  });

  it('lists what is registered, and takes it away', async () => {
    const { out } = await run('appservice', 'list', '--url', server.url);
    expect(out.split('\n').map((line) => line.split(' ')[0])).to.deep.equal(['irc', 'puppet', '']);
    expect(out).not.to.include('token');
    for (const id of ['irc', 'puppet'])
      expect((await run('appservice', 'remove', '--id', id, '--url', server.url)).code).to.equal(0);
    expect((await run('appservice', 'list', '--url', server.url)).out).to.equal('There are none.\n');
  });

  it('says what is wrong with a registration, and with how it is called', async () => {
    const bad = await write('bad.yaml', 'id: x\nas_token: y\n');
    const refused = await run('appservice', 'add', '--file', bad, '--url', server.url);
    expect([refused.code, refused.err.includes('hs_token must be')]).to.deep.equal([1, true]);
    for (const argv of [['add'], ['remove'], ['generate'], ['generate', '--id', 'x'], ['list', '--id', 'x'], ['fly']])
      expect((await run('appservice', ...argv)).code, argv.join(' ')).to.equal(2);
  });
});
