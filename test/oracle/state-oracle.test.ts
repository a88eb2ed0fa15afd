import { expect } from 'chai';
import { INSTALLATION_MS, pythonWithSynapse, SYNAPSE } from '#test/support/synapse/installation.ts';
import { compare } from './comparison.ts';
import { SynapseResolver } from './synapse-resolver.ts';

const ROOMS = 500;
const COMPARISON_MS = 120_000;

describe('state resolution next to that of Synapse', function () {
  this.timeout(INSTALLATION_MS + COMPARISON_MS);

  it(`comes to the same states in ${ROOMS} random rooms, by v1, v2 and v2.1`, async function () {
    const found = pythonWithSynapse();
    if ('reason' in found) {
      // Python, its venv and a package index are not everywhere.
      process.stdout.write(`      ${SYNAPSE} cannot be installed: ${found.reason}\n`);
      this.skip();
    }
    const synapse = new SynapseResolver(found.python);
    try {
      const { differences, resolutions, decided } = await compare(synapse, ROOMS, 1);
      expect(differences).to.deep.equal([]);
      expect([...resolutions.keys()].sort()).to.deep.equal(['v1', 'v2', 'v2.1']);
      expect(decided).to.be.greaterThan(ROOMS);
    } finally {
      synapse.close();
    }
  });
});
