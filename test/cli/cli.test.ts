import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { runCli, type CliConfig, type CliPorts } from '#src/cli/cli.ts';
import type { Check } from '#src/cli/finding.ts';
import { freePort } from '#test/support/free-port.ts';

const CONFIG: CliConfig = {
  serverName: 'cli.example',
  publicBaseUrl: null,
  dataDir: tmpdir(),
  http: { port: 1, bind: '127.0.0.1' },
  database: { url: null },
  tls: { certFile: null },
  wellKnown: { server: null },
  federation: { enabled: true },
  registration: { sharedSecret: 'shh' },
};

function terminal(config: Partial<CliConfig> = {}, inspected: readonly Check[] = []) {
  const seen = { out: '', err: '', files: [] as readonly string[], started: 0 };
  const ports: CliPorts = {
    out: (text) => void (seen.out += text),
    err: (text) => void (seen.err += text),
    askSecret: async () => 'typed password',
    now: () => 1_000,
    nodeVersion: 'v24.1.0',
    loadConfig(files) {
      seen.files = files;
      if (files.includes('bad.yaml')) throw new Error('http.prot is not a key (bad.yaml)');
      return { ...CONFIG, ...config };
    },
    async start(files) {
      seen.files = files;
      seen.started += 1;
      return 0;
    },
    importArchive: async (_files, path) => `read ${path}`,
    moveMedia: async () => '3 objects were moved',
    runDatabase: async (_files, told) => told('postgresql://somewhere'),
    rotateSigningKey: async () => 'a new key signs',
    administrate: async () => {
      throw new Error('the server runs');
    },
    probeMail: async () => undefined,
    inspect: async () => [{ what: 'queues', verdict: 'ok', text: 'nothing waits' }, ...inspected],
    probeDatabase: async (url) => {
      if (url !== null) throw new Error('the database refuses us');
      return 'PostgreSQL answers';
    },
    generate: async () => ['config/schema.json'],
  };
  return { seen, run: (...argv: string[]) => runCli(argv, ports) };
}

describe('tsudoi', () => {
  it('starts with the files that --config names, in their order', async () => {
    const { seen, run } = terminal();
    expect(await run('start', '--config', 'a.yaml', '-c', 'b.yaml')).to.equal(0);
    expect(seen).to.deep.include({ started: 1, files: ['a.yaml', 'b.yaml'] });
  });

  it('config check says what is wrong and exits with 1, without starting', async () => {
    const { seen, run } = terminal();
    expect(await run('config', 'check', '--config', 'bad.yaml')).to.equal(1);
    expect(seen.err).to.include('http.prot is not a key (bad.yaml)');
    expect(await run('config', 'check')).to.equal(0);
    expect(seen.out).to.include('cli.example');
    expect(seen.started).to.equal(0);
  });

  it('explains itself for --help and, with exit code 2, for commands and options it does not know', async () => {
    const help = terminal();
    expect(await help.run('--help')).to.equal(0);
    expect(help.seen.out).to.include('tsudoi register-user');
    for (const argv of [['fly'], [], ['start', '--user', 'x'], ['start', '--nonsense'], ['config']]) {
      const { seen, run } = terminal();
      expect(await run(...argv), argv.join(' ')).to.equal(2);
      expect(seen.err).to.match(/tsudoi/);
      expect(seen.started).to.equal(0);
    }
  });

  describe('register-user', () => {
    let server: Server;
    let url = '';
    let posted: Record<string, unknown> = {};
    let refuse = false;
    before(async () => {
      server = createServer((request, response) => {
        if (request.url !== '/_synapse/admin/v1/register') return void response.writeHead(404).end();
        if (request.method === 'GET') return void response.end('{"nonce":"nonce-1"}');
        let body = '';
        request.on('data', (chunk: Buffer) => (body += chunk.toString()));
        request.on('end', () => {
          posted = JSON.parse(body) as Record<string, unknown>;
          if (refuse) response.writeHead(400).end('{"errcode":"M_USER_IN_USE","error":"User ID already taken."}');
          else response.end('{"user_id":"@alice:cli.example","access_token":"never shown"}');
        });
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    });
    after(() => server.close());
    const expected = (...fields: string[]): string =>
      createHmac('sha1', 'shh').update(fields.join('\u0000')).digest('hex');

    it('answers the nonce with the HMAC of nonce, user, password and admin flag', async () => {
      const { seen, run } = terminal();
      expect(await run('register-user', '--user', 'alice', '--admin', '--url', `${url}/`)).to.equal(0);
      expect(posted).to.deep.equal({
        nonce: 'nonce-1',
        username: 'alice',
        password: 'typed password',
        admin: true,
        mac: expected('nonce-1', 'alice', 'typed password', 'admin'),
      });
      expect(seen.out).to.include('@alice:cli.example').and.not.include('never shown');
    });

    it('reads the password from a file', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-cli-'));
      try {
        await writeFile(join(folder, 'password'), 'from file\n');
        const { run } = terminal();
        expect(
          await run('register-user', '-u', 'bob', '--password-file', join(folder, 'password'), '--url', url),
        ).to.equal(0);
        expect(posted).to.include({
          password: 'from file',
          admin: false,
          mac: expected('nonce-1', 'bob', 'from file', 'notadmin'),
        });
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    });

    it('says why the server refused, that none answers, and that there is no secret', async () => {
      refuse = true;
      const refused = terminal();
      expect(await refused.run('register-user', '--user', 'alice', '--url', url)).to.equal(1);
      expect(refused.seen.err).to.include('User ID already taken');
      const nobody = terminal();
      expect(await nobody.run('register-user', '--user', 'alice')).to.equal(1);
      expect(nobody.seen.err).to.include('no server answers at http://127.0.0.1:1');
      const noSecret = terminal({ registration: { sharedSecret: null } });
      expect(await noSecret.run('register-user', '--user', 'alice')).to.equal(1);
      expect(noSecret.seen.err).to.include('registration.shared_secret');
    });

    it('doctor finds the wrong thing at the server address', async () => {
      const { seen, run } = terminal();
      expect(await run('doctor', '--url', url)).to.equal(1);
      expect(seen.out).to.match(/BAD {3}server: .*answers 404/);
    });
  });

  describe('doctor', () => {
    it('says whether other servers will believe the name of this one', async () => {
      const certFile = fileURLToPath(new URL('../support/certificates/federation.crt', import.meta.url));
      const found = async (config: Partial<CliConfig>): Promise<string> => {
        const { seen, run } = terminal(config);
        await run('doctor');
        return seen.out.split('\n').find((line) => line.includes('federation')) ?? '';
      };
      expect(await found({})).to.match(/^note .*reverse proxy/);
      expect(await found({ serverName: 'a.test', tls: { certFile } })).to.match(/^ok .*for a\.test/);
      expect(await found({ serverName: '127.0.0.1:8448', tls: { certFile } })).to.match(/^ok /);
      expect(await found({ tls: { certFile } })).to.match(/^BAD .*is not for cli\.example/);
      expect(await found({ tls: { certFile }, wellKnown: { server: 'b.test:443' } })).to.match(/^ok .*for b\.test/);
      expect(await found({ tls: { certFile: '/nowhere' } })).to.match(/^BAD /);
      expect(await found({ federation: { enabled: false } })).to.match(/^note .*off/);
    });
    it('takes a server that is not running for no fault', async () => {
      const { seen, run } = terminal({ http: { port: await freePort(), bind: '127.0.0.1' } });
      expect(await run('doctor')).to.equal(0);
      expect(seen.out).to.match(/ok {4}database: PostgreSQL answers/);
      expect(seen.out).to.match(/note {2}mail: none is sent/);
      expect(seen.out).to.match(/note {2}server: nothing listens/);
    });

    it('exits with 1 for anything that is wrong, and tells programs all of it as JSON', async () => {
      const wrong = {
        what: 'clock',
        verdict: 'bad',
        text: '90 s behind: let the machine set its clock by NTP',
      } as const;
      const { seen, run } = terminal({ http: { port: await freePort(), bind: '127.0.0.1' } }, [wrong]);
      expect(await run('doctor', '--json')).to.equal(1);
      const told = JSON.parse(seen.out) as { ok: boolean; checks: { check: string; verdict: string; text: string }[] };
      expect(told.ok).to.equal(false);
      expect(told.checks.at(-1)).to.deep.equal({ check: 'clock', verdict: 'bad', text: wrong.text });
      expect(told.checks.map(({ check }) => check)).to.include.members(['node', 'configuration', 'database', 'queues']);
      const well = terminal({ http: { port: await freePort(), bind: '127.0.0.1' } });
      expect(await well.run('doctor', '--json')).to.equal(0);
      expect((JSON.parse(well.seen.out) as { ok: boolean }).ok).to.equal(true);
    });

    it('explains a database that refuses and a configuration that cannot be read, and exits with 1', async () => {
      const database = terminal({ database: { url: 'postgresql://nowhere' } });
      expect(await database.run('doctor')).to.equal(1);
      expect(database.seen.out).to.match(/BAD {3}database: the database refuses us/);
      const config = terminal();
      expect(await config.run('doctor', '--config', 'bad.yaml')).to.equal(1);
      expect(config.seen.out).to.match(/BAD {3}configuration: http\.prot/);
    });
  });
});

describe('tsudoi import-archive', () => {
  it('reads the file that is named, and asks for one', async () => {
    const { seen, run } = terminal();
    expect(await run('import-archive', '/tmp/2026-01.jsonl')).to.equal(0);
    expect(seen.out).to.equal('read /tmp/2026-01.jsonl\n');
    expect(await run('import-archive')).to.equal(2);
  });
});

describe('tsudoi database', () => {
  it('says where the embedded database is, and takes no file', async () => {
    const { seen, run } = terminal();
    expect(await run('database')).to.equal(0);
    expect(seen.out).to.include('\npostgresql://somewhere\n');
    expect(await run('database', 'x.dump')).to.equal(2);
  });
});
