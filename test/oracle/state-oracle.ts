import { parseArgs } from 'node:util';
import { pythonWithSynapse, SYNAPSE } from '#test/support/synapse/installation.ts';
import { compare } from './comparison.ts';
import { SynapseResolver } from './synapse-resolver.ts';

const USAGE = `npm run test:oracle -- [options]

  --count N   how many random rooms. Default: 3000
  --seed S    the first of them. Default: one that changes from run to run

Resolves the states of random rooms here and by ${SYNAPSE} (installed into the user's cache folder) and compares.
Exit code 1 if one of them differs.
`;

const { values } = parseArgs({
  options: { count: { type: 'string' }, seed: { type: 'string' }, help: { type: 'boolean', default: false } },
});
if (values.help) {
  process.stdout.write(USAGE);
  process.exit(0);
}
const count = Number(values.count ?? 3000);
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
if (!Number.isSafeInteger(count) || count < 1 || !Number.isSafeInteger(seed) || seed < 0) {
  process.stderr.write(`--count and --seed are whole numbers\n\n${USAGE}`);
  process.exit(2);
}
const found = pythonWithSynapse(600_000);
if ('reason' in found) {
  process.stderr.write(`${SYNAPSE} cannot be installed: ${found.reason}\n`);
  process.exit(2);
}
const synapse = new SynapseResolver(found.python);
const { resolutions, decided, differences } = await compare(synapse, count, seed);
synapse.close();
for (const difference of differences.slice(0, 20)) process.stdout.write(`${JSON.stringify(difference)}\n`);
const tally = [...resolutions].map(([algorithm, times]) => `${algorithm}: ${times}`).join(', ');
process.stdout.write(
  `${count} rooms from seed ${seed}; resolutions ${tally}; ${decided} came to a state of their own; ${differences.length} differ\n`,
);
process.exitCode = differences.length === 0 ? 0 : 1;
