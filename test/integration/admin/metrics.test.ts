import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parser } from '@prometheus-io/lezer-promql';
import { expect } from 'chai';
import { parse } from 'yaml';
import type { MetricDescription } from '#src/app/ground/metrics.ts';
import { FIXED_QUOTAS, type FixedQuota } from '#src/protocol/errors/quota-full.ts';
import { MAX_TOKENS } from '#src/services/accounts/registration/registration-tokens.ts';
import { MAX_VERSIONS } from '#src/services/e2ee/key-backup/key-backup-service.ts';
import { query } from '#test/support/database.ts';
import { until } from '#test/support/until.ts';
import { type Answer, InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { downloadMedia, uploadMedia } from '#test/support/media.ts';

const DOCS = fileURLToPath(new URL('../../../docs/', import.meta.url));
/** Labels that Prometheus adds itself: a metric of ours that had them would be renamed. */
const OF_PROMETHEUS = ['job', 'instance'];
/** Metrics that Prometheus makes. */
const UP = 'up';

interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const samplesIn = (text: string): Sample[] =>
  text.split('\n').flatMap((line) => {
    const [, name, labels = '', value] = /^([a-z_]\w*)(?:\{(.*)\})? (\S+)$/i.exec(line) ?? [];
    if (name === undefined) return [];
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, text = '']) => [key, text]);
    return [{ name, labels: Object.fromEntries(pairs), value: Number(value) }];
  });

/** A metric that an expression asks for, with the labels by which it chooses; and the labels by which expressions group. */
interface Asked {
  readonly selectors: readonly { readonly name: string; readonly labels: readonly string[] }[];
  readonly groups: readonly string[];
}

/** @throws where it is no PromQL */
const askedIn = (expression: string): Asked => {
  const text = expression.replaceAll('$__rate_interval', '5m').replaceAll(/\$(job|instance)/g, 'x');
  const selectors: { name: string; labels: string[] }[] = [];
  const groups: string[] = [];
  parser.parse(text).iterate({
    enter(node) {
      const found = text.slice(node.from, node.to);
      if (node.type.isError) throw new Error(`this is no PromQL: ${expression}`);
      if (node.name === 'VectorSelector') selectors.push({ name: '', labels: [] });
      if (node.name === 'Identifier' && node.node.parent?.name === 'VectorSelector') selectors.at(-1)!.name = found;
      if (node.name !== 'LabelName') return;
      if (node.node.parent?.name === 'GroupingLabels') groups.push(found);
      else selectors.at(-1)!.labels.push(found);
    },
  });
  return { selectors, groups };
};

const tableOf = (metrics: readonly MetricDescription[]): string =>
  [
    '| Metric | Kind | Labels | What it says |',
    '|---|---|---|---|',
    ...metrics.map(({ help, kind, labelNames, name }) => {
      const labels = labelNames.map((label) => `\`${label}\``).join(', ');
      return `| \`${name}\` | ${kind} | ${labels} | ${help.replaceAll('|', '\\|')} |`;
    }),
  ].join('\n');

const documentOf = (metrics: readonly MetricDescription[]): string => {
  const sorted = metrics.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const of = (prefix: RegExp): string => tableOf(sorted.filter(({ name }) => prefix.test(name)));
  return `# Metrics

What \`/metrics\` tells. \`npm run generate:metrics\` renews this page; a test holds it against a running server. [monitoring/](monitoring/) has a dashboard for
Grafana and alert rules for Prometheus that are made of them. Histograms have \`_bucket\`, \`_sum\` and \`_count\`.

## Of the server

${of(/^tsudoi_/)}

## Under Synapse's names

For dashboards that were made for Synapse; \`metrics.synapse_names: false\` leaves them out.

${of(/^synapse_/)}

## Of the process

${of(/^(process|nodejs)_/)}
`;
};

describe('the metrics', function () {
  let server: InProcessServer;
  let described: readonly MetricDescription[];
  const scrape = async (): Promise<Sample[]> => samplesIn(await (await fetch(`${server.url}/metrics`)).text());
  const sumOf = (samples: readonly Sample[], name: string, labels: Readonly<Record<string, string>> = {}): number =>
    samples
      .filter(
        (sample) =>
          sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
      )
      .reduce((sum, { value }) => sum + value, 0);
  /** By how much `work` makes each of these grow. */
  const growth = async (
    work: () => Promise<unknown>,
    ...asked: readonly (readonly [string, Readonly<Record<string, string>>?])[]
  ): Promise<number[]> => {
    await server.idle();
    const before = await scrape();
    await work();
    await server.idle();
    const after = await scrape();
    return asked.map(([name, labels]) => sumOf(after, name, labels) - sumOf(before, name, labels));
  };

  before(async () => {
    server = await InProcessServer.start({ rateLimits: { report: { perSecond: 0.001, burst: 1 } } });
    described = await server.services.metrics.described();
  });
  after(() => server?.stop());

  it('count what is refused because as much is kept as may be, also where the bound is fixed', async () => {
    const { userId } = await server.session('alice');
    const V3 = '/_matrix/client/v3';
    const refused: Readonly<Record<FixedQuota, () => Promise<Answer>>> = {
      fallback_keys: async () => {
        // Each upload may have some more of them.
        const keys = (from: number): object => ({
          fallback_keys: Object.fromEntries(
            Array.from({ length: 6 }, (_, n) => [`x.algorithm${from + n}:F`, { key: 'k', signatures: {} }]),
          ),
        });
        await server.must('alice', 'POST', `${V3}/keys/upload`, keys(0));
        await server.must('alice', 'POST', `${V3}/keys/upload`, keys(4));
        return server.ask('alice', 'POST', `${V3}/keys/upload`, keys(5));
      },
      key_backup_versions: async () => {
        const version = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: {} };
        for (let n = 0; n < MAX_VERSIONS; n += 1)
          await server.must('alice', 'POST', `${V3}/room_keys/version`, version);
        return server.ask('alice', 'POST', `${V3}/room_keys/version`, version);
      },
      profile_bytes: async () => {
        const put = (key: string): Promise<Answer> =>
          server.ask('alice', 'PUT', `${V3}/profile/${userId}/${key}`, { [key]: 'x'.repeat(40_000) });
        expect((await put('org.example.one')).status).to.equal(200);
        return put('org.example.two');
      },
      registration_tokens: async () => {
        const text = `insert into registration_tokens (token, completed, created_ts) select 'made' || n, 0, 0
          from generate_series(1, ${MAX_TOKENS}) n`;
        await query(server.databaseUrl, text);
        return server.ask('admin', 'POST', '/_synapse/admin/v1/registration_tokens/new', {});
      },
    };
    for (const [quota, work] of Object.entries(refused)) {
      let answer: Answer | undefined;
      const [counted] = await growth(async () => {
        answer = await work();
      }, ['tsudoi_quota_refused_total', { quota }]);
      const { errcode, status } = FIXED_QUOTAS[quota as FixedQuota];
      expect([answer?.status, answer?.body['errcode'], counted], quota).to.deep.equal([status, errcode, 1]);
    }
    await query(server.databaseUrl, "delete from registration_tokens where token like 'made%'");
  });
  it('are all listed in docs/metrics.md, with nothing else', async () => {
    const document = documentOf(described);
    if (process.env['TSUDOI_GENERATE'] !== undefined) await writeFile(`${DOCS}metrics.md`, document);
    expect(await readFile(`${DOCS}metrics.md`, 'utf8')).to.equal(document);
    const names = new Set(described.map(({ name }) => name));
    const told = (await scrape()).map(({ name }) => name);
    const missing = told.filter((name) => !names.has(name) && !names.has(name.replace(/_(bucket|sum|count)$/, '')));
    expect(missing).to.deep.equal([]);
  });

  it('have no label that Prometheus gives itself, and a description each', () => {
    for (const { help, labelNames, name } of described) {
      for (const label of [...OF_PROMETHEUS.slice(0, 1), 'instance']) expect(labelNames, name).not.to.include(label);
      expect(help.length, name).to.be.greaterThan(10);
    }
  });

  const known = (expression: string, where: string): void => {
    const { groups, selectors } = askedIn(expression);
    const allowed = new Set<string>();
    for (const { labels, name } of selectors) {
      const metric = described.find(
        (one) =>
          one.name === name ||
          (one.kind === 'histogram' &&
            name.startsWith(one.name) &&
            /^_(bucket|sum|count)$/.test(name.slice(one.name.length))),
      );
      expect(metric !== undefined || name === UP, `${where}: there is no metric ${name}`).to.equal(true);
      const ownLabels = [...(metric?.labelNames ?? []), ...OF_PROMETHEUS, ...(name.endsWith('_bucket') ? ['le'] : [])];
      for (const label of labels) expect(ownLabels, `${where}: ${name}`).to.include(label);
      for (const label of ownLabels) allowed.add(label);
    }
    for (const label of groups) expect([...allowed], where).to.include(label);
  };

  it('are all there that the dashboard in docs/monitoring asks for, with the labels that it asks for', async () => {
    const dashboard = JSON.parse(await readFile(`${DOCS}monitoring/grafana.json`, 'utf8')) as Json;
    const panels = (dashboard.panels as Json[]).filter(({ type }) => type !== 'row');
    expect(panels.length).to.be.greaterThan(40);
    for (const { targets, title } of panels) {
      expect(targets.length, title).to.be.greaterThan(0);
      for (const { expr, legendFormat } of targets) {
        known(expr, title);
        const shown = [...(legendFormat as string).matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label);
        const { groups, selectors } = askedIn(expr);
        const isGrouped = /\b(sum|topk|max)\b/.test(expr) && groups.length > 0;
        const labels = isGrouped
          ? groups
          : selectors.flatMap(({ name }) => described.find((one) => one.name === name)?.labelNames ?? []);
        for (const label of shown) expect([...labels, ...OF_PROMETHEUS], `${title}: ${expr}`).to.include(label);
      }
    }
    expect(new Set((dashboard.panels as Json[]).map(({ id }) => id as number)).size).to.equal(dashboard.panels.length);
  });

  it('are all shown on the dashboard, so that nothing is counted that nobody sees', async () => {
    const dashboard = await readFile(`${DOCS}monitoring/grafana.json`, 'utf8');
    const shown = new Set(
      dashboard.match(/tsudoi_[a-z0-9_]+/g)?.map((name) => name.replace(/_(bucket|sum|count)$/, '')),
    );
    const own = described.map(({ name }) => name).filter((name) => name.startsWith('tsudoi_'));
    expect(own.length).to.be.greaterThan(80);
    expect(own.filter((name) => !shown.has(name))).to.deep.equal([]);
  });

  it('are all there that the alert rules in docs/monitoring ask for, and each rule says what to do', async () => {
    const { groups } = parse(await readFile(`${DOCS}monitoring/alerts.yaml`, 'utf8')) as Json;
    const rules = (groups as Json[]).flatMap(({ rules: some }) => some as Json[]);
    expect(new Set(rules.map(({ alert }) => alert as string)).size)
      .to.equal(rules.length)
      .and.to.be.greaterThan(15);
    for (const { alert, annotations, expr, labels } of rules) {
      known(expr, alert);
      expect(labels.severity, alert).to.be.oneOf(['info', 'warning', 'critical']);
      expect(annotations.summary.length, alert).to.be.greaterThan(10);
      expect(annotations.description.length, alert).to.be.greaterThan(15);
    }
  });

  it('count what happens in each part of the server', async () => {
    const room = await server.room('alice');
    const sync = await server.must('alice', 'GET', '/sync');
    expect(
      await growth(
        async () => {
          await server.say('alice', room, 'hello');
          await server.must('alice', 'GET', `/sync?since=${sync.next_batch}&timeout=0`);
        },
        ['tsudoi_events_committed_total', { origin: 'local' }],
        ['synapse_storage_events_persisted_events_total'],
        ['tsudoi_sync_responses_total', { outcome: 'news' }],
        ['tsudoi_http_request_seconds_count', { operation: 'client-server.sendMessage', status: '200' }],
        ['synapse_http_server_response_time_seconds_count', { servlet: 'client-server.sendMessage', code: '200' }],
        ['synapse_http_server_requests_received_total', { servlet: 'client-server.sendMessage', method: 'PUT' }],
      ),
    ).to.deep.equal([1, 1, 1, 1, 1, 1]);
    // Of its own in each try: what is kept already is not new.
    const content = `a file of ${randomBytes(8).toString('hex')}`;
    const [kept, bytes, sent, audit] = await growth(
      async () => {
        const uri = await uploadMedia(server, 'alice', content);
        await downloadMedia(server, 'alice', uri);
        await server.must('admin', 'POST', `/_synapse/admin/v1/media/protect/${uri.split('/').at(-1)}`, {});
      },
      ['tsudoi_media_kept_total', { outcome: 'new' }],
      ['tsudoi_media_kept_bytes_total'],
      ['tsudoi_media_answered_bytes_total'],
      ['tsudoi_audit_entries_total'],
    );
    expect([kept, bytes, sent, audit]).to.deep.equal([1, 26, 26, 1]);
    const [limited, errors] = await growth(
      async () => {
        for (let n = 0; n < 3; n++) await server.ask('alice', 'POST', `/rooms/${room}/report`, { reason: 'x' });
        server.services.logger.error('something is odd');
      },
      ['tsudoi_limited_requests_total', { api: 'http', limiter: 'report' }],
      // Warnings come by themselves where a machine is slow.
      ['tsudoi_log_lines_total', { level: 'error' }],
    );
    expect([limited, errors]).to.deep.equal([2, 1]);
    // Caches of servers that other tests have stopped are counted until their memory is freed.
    await until('a cache counts what it had', async () => {
      const [hits = 0] = await growth(async () => {
        for (let n = 0; n < 3; n++) await server.ask('alice', 'GET', '/account/whoami');
      }, ['tsudoi_cache_hits_total', { cache: 'access_tokens' }]);
      return hits >= 3;
    });
    const samples = await scrape();
    expect(sumOf(samples, 'tsudoi_database_up')).to.equal(1);
    for (const name of [
      'tsudoi_database_bytes',
      'tsudoi_disk_free_bytes',
      'tsudoi_disk_size_bytes',
      'tsudoi_jobs_total',
    ])
      expect(sumOf(samples, name), name).to.be.greaterThan(0);
    for (const queue of server.services.queues.names)
      expect(
        samples.some(({ labels, name }) => name === 'tsudoi_queue_oldest_seconds' && labels['queue'] === queue),
        queue,
      ).to.equal(true);
  });

  it('have as many series as the server has parts, whatever users and strangers ask for', async () => {
    const series = async (): Promise<Set<string>> =>
      new Set((await scrape()).map(({ labels, name }) => name + JSON.stringify(labels)));
    const ask = async (n: number): Promise<void> => {
      await fetch(`${server.url}/_matrix/client/v3/nothing/${n}`, { method: n % 2 === 0 ? 'GET' : 'DELETE' });
      await server.ask('alice', 'GET', `/rooms/!room${n}:test/state`);
      await server.ask('alice', 'GET', `/profile/@user${n}:test`);
      await server.ask('alice', 'PUT', `/rooms/!room${n}:test/send/type${n}/${n}`, {});
      await server.ask(undefined, 'GET', `/_matrix/federation/v1/event/$event${n}`);
    };
    for (let n = 0; n < 2; n++) await ask(n);
    const before = await series();
    for (let n = 2; n < 40; n++) await ask(n);
    // The first long turn of something, or a kind of garbage collection, may have come meanwhile.
    const more = [...(await series())].filter((one) => !before.has(one));
    expect(more.filter((one) => /nothing|room\d|user\d|type\d|event\d/.test(one))).to.deep.equal([]);
    expect(more.length, more.join(' ')).to.be.lessThan(38);
  });

  it('ask the database about itself once in a while, however many read them', async () => {
    await server.clock.advance(60_000);
    const read = (): Promise<unknown> => fetch(`${server.url}/metrics`).then((response) => response.text());
    const asked = async (): Promise<string[]> => {
      const names = await server.statementNames(() => Promise.all([read(), read()]));
      return names.filter((name) => name.startsWith('facts')).toSorted();
    };
    expect(await asked()).to.deep.equal(['facts_database_size', 'facts_outbox']);
    expect(await asked()).to.deep.equal([]);
  });

  it('say that the database is away while it is, and are told nevertheless', async () => {
    const { database } = server.services;
    const { query } = database;
    database.query = () => Promise.reject(new Error('Connection terminated unexpectedly'));
    server.clock.set(0);
    await server.clock.advance(2_000);
    const samples = await scrape();
    database.query = query;
    expect(samples.filter(({ name }) => name === 'tsudoi_database_up').map(({ value }) => value)).to.deep.equal([0]);
    expect(sumOf(samples, 'tsudoi_http_connections_limit')).to.be.greaterThan(0);
  });
});

describe('the summary of the server', function () {
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server?.stop());

  it('tells administrators its version, and how many users, rooms, files and jobs there are', async () => {
    await server.room('alice');
    await uploadMedia(server, 'alice', 'hello');
    await server.must('alice', 'GET', '/sync');
    const summary = await server.must('admin', 'GET', '/_tsudoi/admin/v1/server');
    expect(summary).to.deep.include({
      server_name: 'test',
      users: { accounts: 2, syncing: 0 },
      rooms: 1,
      media: { files: 1, bytes: 5 },
    });
    expect(summary.database.bytes).to.be.greaterThan(1_000_000);
    expect(summary.disk.total_bytes).to.be.greaterThan(summary.disk.free_bytes);
    expect(summary.queues.maintenance).to.have.all.keys('waiting', 'active', 'delayed', 'failed');
    expect((await server.ask('alice', 'GET', '/_tsudoi/admin/v1/server')).status).to.equal(403);
  });
});
