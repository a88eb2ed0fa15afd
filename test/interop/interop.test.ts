import { INSTALLATION_MS, pythonWithSynapse, SYNAPSE } from '#test/support/synapse/installation.ts';
import { administration } from './administration.ts';
import { encryption } from './encryption.ts';
import { ephemera } from './ephemera.ts';
import { keys } from './keys.ts';
import { lookups } from './lookups.ts';
import { memberships } from './memberships.ts';
import { operations } from './operations.ts';
import { Rig } from './support/rig.ts';
import { thirdPartyInvites } from './third-party-invites.ts';
import { timelines } from './timelines.ts';

const START_MS = 180_000;

describe(`next to ${SYNAPSE}`, function () {
  this.timeout(60_000);
  let rig: Rig | undefined;
  const both = (): Rig => rig!;

  before(async function () {
    this.timeout(INSTALLATION_MS + START_MS);
    const found = pythonWithSynapse();
    if ('reason' in found) {
      // Python, its venv and a package index are not everywhere.
      process.stdout.write(`      ${SYNAPSE} cannot be installed: ${found.reason}\n`);
      this.skip();
    }
    rig = await Rig.start(found.python);
  });
  afterEach(async function () {
    rig?.heal();
    if (rig !== undefined && this.currentTest?.state === 'failed')
      process.stdout.write(`      what both servers logged: ${await rig.keepLogs()}\n`);
  });
  after(() => rig?.stop());

  keys(both);
  memberships(both);
  timelines(both);
  ephemera(both);
  lookups(both);
  encryption(both);
  thirdPartyInvites(both);
  operations(both);
  administration(both);
});
