import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { limitsDocument } from '#src/app/limits-document.ts';

/** Constants of the sources that the page of limits tells: file, name, and what stands on the page for it. */
const TOLD: readonly (readonly [file: string, constant: string, told: string])[] = [
  ['services/federation/inbound/inbound-transactions.ts', 'MAX_PDUS = 50', '50 events and 100 EDUs in 8 MiB'],
  ['services/federation/inbound/inbound-transactions.ts', 'MAX_EDUS = 100', '50 events and 100 EDUs in 8 MiB'],
  ['http/server-server/transactions.ts', 'MAX_BYTES = 8 * 1024 * 1024', '50 events and 100 EDUs in 8 MiB'],
  ['services/federation/inbound/inbound-queue.ts', 'MAX_PER_ORIGIN = 5_000', '5000, of them 1000 for one room'],
  [
    'services/federation/inbound/inbound-queue.ts',
    'MAX_PER_ORIGIN_AND_ROOM = 1_000',
    '5000, of them 1000 for one room',
  ],
  ['services/federation/inbound/inbound-queue.ts', 'ASKING_AT_ONCE = 64', '64, of them 4 of one server'],
  ['services/federation/inbound/inbound-queue.ts', 'ASKING_OF_ORIGIN_AT_ONCE = 4', '64, of them 4 of one server'],
  ['services/federation/inbound/missing-events.ts', 'MAX_IN_GAP = 150', '150 events in all'],
  ['services/federation/history/history-answers.ts', 'MAX_MISSING = 20', '100 events, 20 events; 4 MiB'],
  [
    'services/federation/joins/received-invites.ts',
    'MAX_WAITING = 1_000',
    'invites of other servers that wait for one user | 1000',
  ],
  ['services/servers/keys/server-keys.ts', 'MAX_SERVERS = 40_000', '40000 servers, 64 keys of each'],
  ['services/servers/keys/key-notary.ts', 'MAX_SERVERS = 200', 'as a notary | 200, 50'],
  ['services/servers/requests/request-authenticator.ts', 'MAX_SIGNATURES = 8', 'that are looked at | 8'],
  ['services/e2ee/device-keys/key-query.ts', 'USERS_AT_ONCE = 500', 'answered at once | 500, 2'],
  ['services/e2ee/device-keys/key-query.ts', 'MAX_USERS = 10_000', '/keys/query, and devices of each | 10000, 1000'],
  ['services/admin/tasks/admin-tasks.ts', 'MAX_OPEN = 1_000', 'that are not done | 1000'],
  ['remote/federation/federation-client.ts', 'MAX_WAITING = 8_192', 'wait for their turn | 8192'],
  ['remote/push-gateway.ts', 'MAX_BODY_BYTES = 65_536', 'push gateways, captchas and moderation tools | 64 KiB'],
];

describe('the page of limits', () => {
  it('tells the fixed bounds as they stand in the sources', async () => {
    const page = limitsDocument();
    for (const [file, constant, told] of TOLD) {
      const source = await readFile(new URL(`../../src/${file}`, import.meta.url), 'utf8');
      expect(source, file).to.contain(constant);
      expect(page, constant).to.contain(told);
    }
  });
  it('has the budgets, quotas and limits of clients, servers and application services', () => {
    const page = limitsDocument();
    for (const key of [
      'rate_limits.federation',
      'quotas.account_data.bytes',
      'bytes_in_flight.total',
      'appservices.max_waiting_events',
    ])
      expect(page).to.contain(`\`${key}\``);
    expect(page).not.to.match(/undefined|NaN/);
  });
});
