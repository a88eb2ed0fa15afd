import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect } from 'chai';
import { parse } from 'yaml';
import { ConfigError, DEFAULT_CONFIG_FILE, loadConfig } from '#src/app/config/load.ts';
import { publishedSchema } from '#src/app/config/published-schema.ts';
import { configNode } from '#src/app/config/schema.ts';
import type { SchemaNode } from '#src/app/config/schema-walk.ts';

describe('configuration', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'tsudoi-test-config-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const write = (name: string, text: string): string => {
    const file = join(folder, name);
    writeFileSync(file, text);
    return file;
  };
  const problemsOf = (files: readonly string[], env: Record<string, string> = {}): ConfigError['problems'] => {
    try {
      loadConfig(files, env);
    } catch (error) {
      if (error instanceof ConfigError) return error.problems;
      throw error;
    }
    return [];
  };
  const only = (files: readonly string[], env: Record<string, string> = {}) => {
    const problems = problemsOf(files, env);
    expect(problems).to.have.length(1);
    return problems[0]!;
  };

  it('works without any file, on localhost, with open registration', () => {
    const config = loadConfig([], {});
    expect(config.serverName).to.equal('localhost');
    expect(config.http).to.include({ port: 8008, bind: '127.0.0.1' });
    expect(config.tls).to.include({ port: 8448, certFile: null });
    expect(config.registration).to.include({ enabled: true, requiresToken: false, sharedSecret: null });
    expect(config.room.defaultVersion).to.equal('12');
    expect(config.presence).to.deep.equal({ enabled: true, federate: false, idleMs: 300_000 });
    expect(config.signingKeyFile).to.equal('./data/signing.key');
    expect(config.rateLimits.buckets['create_room']).to.deep.equal({ perSecond: 0.2, burst: 10 });
  });

  it('closes registration on every other name, unless it is opened', () => {
    expect(loadConfig([], { TSUDOI_SERVER_NAME: 'example.org' }).registration.enabled).to.equal(false);
    expect(loadConfig([], { TSUDOI_SERVER_NAME: 'localhost:8448' }).registration.enabled).to.equal(true);
    const open = { TSUDOI_SERVER_NAME: 'example.org', TSUDOI_REGISTRATION__ENABLED: 'true' };
    expect(loadConfig([], open).registration.enabled).to.equal(true);
  });

  it('is frozen', () => {
    const config = loadConfig([], {}) as unknown as { http: { port: number } };
    expect(() => (config.http.port = 1)).to.throw(TypeError);
  });

  it('lets later files win, key by key, and replaces lists whole', () => {
    const first = write(
      '1.yaml',
      'http:\n  port: 1111\n  bind: 0.0.0.0\nfederation:\n  deny: [a.example, b.example]\n',
    );
    const second = write('2.yaml', 'http:\n  port: 2222\nfederation:\n  deny: [c.example]\n');
    const config = loadConfig([first, second], {});
    expect(config.http).to.include({ port: 2222, bind: '0.0.0.0' });
    expect(config.federation.deny).to.deep.equal(['c.example']);
    expect(loadConfig([second, first], {}).http.port).to.equal(1111);
  });

  it('reads the *.yaml files of a directory in order', () => {
    mkdirSync(join(folder, 'conf.d'));
    write('conf.d/20-b.yaml', 'http: { port: 2222 }');
    write('conf.d/10-a.yaml', 'http: { port: 1111, bind: 0.0.0.0 }');
    write('conf.d/30-ignored.txt', 'http: { port: 3333 }');
    expect(loadConfig([join(folder, 'conf.d')], {}).http).to.include({ port: 2222, bind: '0.0.0.0' });
  });

  it('lets the environment win over files, in every type', () => {
    const file = write('a.yaml', 'http: { port: 1111 }');
    const config = loadConfig([file], {
      TSUDOI_HTTP__PORT: '2222',
      TSUDOI_RATE_LIMITS__ENABLED: 'off',
      TSUDOI_RATE_LIMITS__LOGIN__PER_SECOND: '0.5',
      TSUDOI_FEDERATION__DENY: 'a.example, *.b.example',
      TSUDOI_FEDERATION__ALLOW: '["c.example"]',
      TSUDOI_FEDERATION__STATIC_HOSTS: 'a.example=127.0.0.1:1,b.example=[::1]:2',
      TSUDOI_WELL_KNOWN__CLIENT: '{"org.example.key_a":{"deep_b":1}}',
      TSUDOI_PUBLIC_BASE_URL: '',
      TSUDOI_LOG__FORMAT: 'json',
      OTHER: 'ignored',
    });
    expect(config.http.port).to.equal(2222);
    expect(config.rateLimits.enabled).to.equal(false);
    expect(config.rateLimits.buckets['login']?.perSecond).to.equal(0.5);
    expect(config.federation.deny).to.deep.equal(['a.example', '*.b.example']);
    expect(config.federation.allow).to.deep.equal(['c.example']);
    expect(config.federation.staticHosts).to.deep.equal({ 'a.example': '127.0.0.1:1', 'b.example': '[::1]:2' });
    expect(config.wellKnown.client).to.deep.equal({ 'org.example.key_a': { deep_b: 1 } });
    expect(config.publicBaseUrl).to.equal(null);
    expect(config.log.format).to.equal('json');
  });

  it('reads a secret from the file that ..._FILE names, without the newline at its end', () => {
    const secret = write('secret', 'hush\n');
    expect(loadConfig([], { TSUDOI_REGISTRATION__SHARED_SECRET_FILE: secret }).registration.sharedSecret).to.equal(
      'hush',
    );
    const missing = only([], { TSUDOI_REGISTRATION__SHARED_SECRET_FILE: join(folder, 'none') });
    expect(missing).to.include({ key: 'registration.shared_secret' });
    expect(missing.problem).to.include('ENOENT');
    const twice = only([], {
      TSUDOI_REGISTRATION__SHARED_SECRET_FILE: secret,
      TSUDOI_REGISTRATION__SHARED_SECRET: 'x',
    });
    expect(twice.problem).to.include('leave one of them out');
    // tls.cert_file is a key that ends with _file itself.
    const tls = loadConfig([], { TSUDOI_TLS__CERT_FILE: '/a', TSUDOI_TLS__KEY_FILE: '/b' }).tls;
    expect(tls).to.include({ certFile: '/a', keyFile: '/b', bind: '127.0.0.1' });
  });

  it('names an unknown key, its file, and the key that was probably meant', () => {
    const file = write('a.yaml', 'http:\n  prot: 8009\n');
    expect(only([file])).to.deep.equal({
      key: 'http.prot',
      source: file,
      problem: 'is not a key of the configuration; did you mean port?',
    });
    const unknown = only([], { TSUDOI_HTTP__PROT: '1' });
    expect(unknown).to.include({ key: 'http.prot', source: 'environment variable TSUDOI_HTTP__PROT' });
  });

  it('names a wrong type, its file, and what is expected', () => {
    const file = write(
      'a.yaml',
      'http: { port: many }\nregistration: { enabled: maybe }\nfederation: { deny: a.example }\ntls: 5\n',
    );
    expect(problemsOf([file])).to.deep.equal([
      { key: 'http.port', source: file, problem: 'must be an integer from 0 to 65535, but is "many"' },
      { key: 'registration.enabled', source: file, problem: 'must be true or false, or null, but is "maybe"' },
      {
        key: 'federation.deny',
        source: file,
        problem: 'must be a list, each a string that is not empty, but is "a.example"',
      },
      { key: 'tls', source: file, problem: 'must be a section with port, bind, cert_file, key_file, but is 5' },
    ]);
    expect(only([], { TSUDOI_HTTP__PORT: '70000' }).problem).to.equal(
      'must be an integer from 0 to 65535, but is 70000',
    );
    expect(only([], { TSUDOI_SERVER_NAME: 'no name' }).key).to.equal('server_name');
  });

  it('never shows a secret in a message', () => {
    const file = write(
      'a.yaml',
      'registration: { shared_secret: 271828 }\ndatabase: { url: "mysql://root:hunter2@db/x" }\n',
    );
    const text = JSON.stringify(problemsOf([file]));
    expect(text).to.include('registration.shared_secret').and.to.include('postgresql://');
    expect(text).to.not.include('271828');
    expect(text).to.not.include('hunter2');
  });

  it('names contradictions and where they come from', () => {
    const file = write('a.yaml', 'tls: { cert_file: /a }\n');
    expect(only([file]).key).to.equal('tls.key_file');
    expect(only([], { TSUDOI_SYNC__DEFAULT_TIMELINE_LIMIT: '9999' })).to.include({
      key: 'sync.default_timeline_limit',
      source: 'environment variable TSUDOI_SYNC__DEFAULT_TIMELINE_LIMIT',
    });
    expect(problemsOf([], { TSUDOI_MEDIA__STORE: 's3' }).map(({ key }) => key)).to.include('media.s3.bucket');
    expect(only([], { TSUDOI_REGISTRATION__REQUIRES_EMAIL: 'true' }).problem).to.include('email.smtp_url');
    expect(only([], { TSUDOI_FEDERATION__DENY_IP_RANGES: '10.0.0.0/99' }).problem).to.include('10.0.0.0/99');
  });

  it('names what is missing or wrong about captchas, terms, tokens of others, calls and well-known files', () => {
    const keysOf = (name: string, yaml: string): string[] => problemsOf([write(name, yaml)]).map(({ key }) => key);
    for (const [yaml, ...keys] of [
      ['registration: { captcha: { provider: turnstile, site_key: a } }', 'registration.captcha.secret_key'],
      ['registration: { terms: { rules: { en: { name: a, url: https://a.test } } } }', 'registration.terms.rules'],
      ["registration: { terms: { rules: { version: '1' } } }", 'registration.terms.rules'],
      [
        "registration: { terms: { rules: { version: '1', ja: { name: a, url: 'javascript:1' } } } }",
        'registration.terms.rules.ja',
      ],
      ['jwt: { enabled: true }', 'jwt.key'],
      ['jwt: { enabled: true, algorithm: ES256, key: no key }', 'jwt.key'],
      ['rtc: { transports: [{ livekit_service_url: a }] }', 'rtc.transports.0'],
      ["well_known: { client: { 'm.homeserver': {} } }", 'well_known.client'],
      ["well_known: { server_keys: { 'm.server': a } }", 'well_known.server_keys'],
      ['well_known: { policy_server_keys: { public_keys: {} } }', 'well_known.policy_server_keys'],
      ['previews: { allow_ip_ranges: [10.0.0.0/99] }', 'previews.allow_ip_ranges'],
    ] as const)
      expect(keysOf('wrong.yaml', `${yaml}\n`), yaml).to.deep.equal(keys);
    const good = "registration: { terms: { rules: { version: '1', ja: { name: a, url: https://a.test } } } }\n";
    expect(keysOf('good.yaml', `${good}jwt: { enabled: true, key: secret }\n`)).to.deep.equal([]);
  });

  it('sends no password over a network in the clear, and half of an account nowhere', () => {
    const keysOf = (url: string, more: Record<string, string> = {}): string[] =>
      problemsOf([], { TSUDOI_EMAIL__FROM: 'a@b.test', TSUDOI_EMAIL__SMTP_URL: url, ...more }).map(({ key }) => key);
    const clear = { TSUDOI_EMAIL__STARTTLS: 'none' };
    const account = { TSUDOI_EMAIL__USERNAME: 'a', TSUDOI_EMAIL__PASSWORD: 'b' };
    expect(keysOf('smtp://mail.test', { ...clear, ...account })).to.deep.equal(['email.starttls']);
    expect(keysOf('smtp://a:b@mail.test', clear)).to.deep.equal(['email.starttls']);
    expect(keysOf('smtp://mail.test', clear)).to.deep.equal([]);
    expect(keysOf('smtp://localhost', { ...clear, ...account })).to.deep.equal([]);
    expect(keysOf('smtps://mail.test', { ...clear, ...account })).to.deep.equal([]);
    expect(keysOf('smtp://mail.test', account)).to.deep.equal([]);
    expect(keysOf('smtp://mail.test', { TSUDOI_EMAIL__USERNAME: 'a' })).to.deep.equal(['email.password']);
    expect(keysOf('smtp://:25')).to.deep.equal(['email.smtp_url']);
    const pauses = { TSUDOI_EMAIL__DIGESTS__FIRST_PAUSE_MS: '2', TSUDOI_EMAIL__DIGESTS__LONGEST_PAUSE_MS: '1' };
    expect(keysOf('smtp://mail.test', pauses)).to.deep.equal(['email.digests.first_pause_ms']);
  });

  it('says which file is missing, or not YAML, or no map', () => {
    expect(only([join(folder, 'none.yaml')]).problem).to.include('cannot be read');
    expect(only([write('a.yaml', 'a: b: c')]).problem).to.include('is not YAML');
    expect(only([write('b.yaml', '- a')]).problem).to.equal('must be a map of keys');
    expect(problemsOf([write('empty.yaml', '')])).to.deep.equal([]);
  });

  it('takes 12 for the name of a room version', () => {
    expect(loadConfig([write('a.yaml', 'room: { default_version: 11 }')], {}).room.defaultVersion).to.equal('11');
    expect(only([write('b.yaml', 'room: { default_version: 13 }')]).problem).to.include('one of 1, 2');
  });

  it('has a comment, a default and a place in the schema for every key', () => {
    const defaults: unknown = parse(readFileSync(DEFAULT_CONFIG_FILE, 'utf8'));
    const published = JSON.parse(publishedSchema()) as SchemaNode;
    const keys = (schema: SchemaNode, value: unknown, path: string): string[] =>
      Object.entries(schema.properties ?? {}).flatMap(([name, below]) => {
        const here = `${path}${name}`;
        expect(value, here).to.have.property(name);
        return [here, ...keys(below, (value as Record<string, unknown>)[name], `${here}.`)];
      });
    const described = (schema: SchemaNode & { description?: string }, path: string): void => {
      for (const [name, below] of Object.entries(schema.properties ?? {}) as [
        string,
        SchemaNode & { description?: string },
      ][]) {
        expect(below.description, `${path}${name}`).to.match(/\S/);
        described(below, `${path}${name}.`);
      }
    };
    expect(keys(configNode, defaults, '')).to.include('federation.deny_ip_ranges');
    described({ ...published, properties: { ...published.properties } }, '');
  });

  it('publishes a schema that takes the defaults and refuses what the server refuses', () => {
    const validate = new Ajv2020({ strict: false }).compile(JSON.parse(publishedSchema()) as object);
    expect(validate(parse(readFileSync(DEFAULT_CONFIG_FILE, 'utf8')))).to.equal(true);
    expect(validate({ http: { port: 1 } })).to.equal(true);
    expect(validate({ http: { prot: 1 } })).to.equal(false);
    expect(validate({ http: { port: 'x' } })).to.equal(false);
  });
});
