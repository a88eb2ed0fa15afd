import { execFile } from 'node:child_process';
import { mkdtemp, mkdir, readdir, rm, writeFile, cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const HOME = fileURLToPath(new URL('../../', import.meta.url));
const DEPCRUISE = join(HOME, 'node_modules', 'dependency-cruiser', 'bin', 'dependency-cruise.mjs');

interface Report {
  readonly modules: readonly {
    readonly source: string;
    readonly dependencies: readonly { readonly resolved: string }[];
  }[];
  readonly summary: {
    readonly violations: readonly {
      readonly from: string;
      readonly to: string;
      readonly rule: { readonly name: string };
    }[];
  };
}

function cruise(home: string, folders: readonly string[]): Promise<Report> {
  const args = [DEPCRUISE, '--config', 'config/tools/layering.cjs', '--output-type', 'json', ...folders];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { cwd: home, maxBuffer: 256 * 1024 * 1024 }, (error, stdout, stderr) => {
      try {
        resolve(JSON.parse(stdout) as Report);
      } catch {
        reject(new Error(`${error?.message ?? ''}${stderr}`));
      }
    });
  });
}

async function filesOf(folder: string): Promise<string[]> {
  const found = await readdir(join(HOME, folder), { recursive: true });
  return found.filter((name) => name.endsWith('.ts')).map((name) => `${folder}/${name}`);
}

/** The arrows between folders of src/ that lie on a circle: each as `from -> to`. */
function cyclesOfFolders(report: Report): string[] {
  const arrows = new Map<string, Set<string>>();
  for (const { source, dependencies } of report.modules) {
    const from = dirname(source);
    for (const { resolved } of dependencies) {
      const to = dirname(resolved);
      if (to !== from && resolved.startsWith('src/')) arrows.set(from, (arrows.get(from) ?? new Set()).add(to));
    }
  }
  const reaches = (from: string, goal: string, seen = new Set<string>()): boolean =>
    from === goal ||
    [...(arrows.get(from) ?? [])].some((next) => {
      if (seen.has(next)) return false;
      seen.add(next);
      return reaches(next, goal, seen);
    });
  return [...arrows].flatMap(([from, tos]) =>
    [...tos].filter((to) => reaches(to, from)).map((to) => `${from} -> ${to}`),
  );
}

describe('the import law', function () {
  this.timeout(60_000);

  it('is kept by every file of src/ and migrations/, and every one of them was looked at', async () => {
    const report = await cruise(HOME, ['src', 'migrations']);
    const seen = new Set(report.modules.map((module) => module.source));
    const unseen = [...(await filesOf('src')), ...(await filesOf('migrations'))].filter((file) => !seen.has(file));
    expect(unseen).to.deep.equal([]);
    const violations = report.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`);
    expect(violations).to.deep.equal([]);
    expect(cyclesOfFolders(report), 'folders that import each other in a circle').to.deep.equal([]);
  });

  it('catches an import that points up, one between siblings, one of SQL, one between areas, and a cycle of files or of folders', async () => {
    const home = await mkdtemp(join(tmpdir(), 'tsudoi-test-layering-'));
    try {
      await mkdir(join(home, 'config/tools'), { recursive: true });
      for (const file of ['config/tools/layering.cjs', 'tsconfig.json', 'package.json']) {
        await cp(join(HOME, file), join(home, file));
      }
      const files: Record<string, string> = {
        'src/kernel/clock.ts': `import '#src/services/rooms.ts';`,
        'src/services/rooms.ts': `export type { Pool } from 'pg';`,
        'src/services/events/e.ts': `import '#src/services/sync/f.ts';`,
        'src/services/sync/f.ts': `import '#src/services/events/g/g.ts';`,
        'src/services/events/g/g.ts': `import '../h/h.ts';`,
        'src/services/events/g/i.ts': '',
        'src/services/events/h/h.ts': `import '../g/i.ts';`,
        'src/cli/run.ts': `import './parts/ask.ts';`,
        'src/cli/options.ts': '',
        'src/cli/parts/ask.ts': `import '../options.ts';`,
        'src/http/a.ts': `import type { B } from '#src/ws/b.ts';\nexport type A = B;`,
        'src/ws/b.ts': `import '#src/storage/c.ts';\nexport type B = 1;`,
        'src/storage/c.ts': `import './d.ts';`,
        'src/storage/d.ts': `import './c.ts';`,
        'node_modules/pg/index.d.ts': 'export interface Pool {}',
        'node_modules/pg/package.json': '{"name":"pg","version":"1.0.0","types":"index.d.ts","main":"index.d.ts"}',
      };
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(home, path)), { recursive: true });
        await writeFile(join(home, path), content);
      }
      const report = await cruise(home, ['src']);
      const broken = report.summary.violations.map(({ rule }) => rule.name);
      expect(broken).to.include.members([
        'kernel-imports-down',
        'http-imports-down',
        'ws-imports-down',
        'no-cycles',
        'only-storage-talks-sql',
        'services-are-in-areas',
        'services-events-imports-down',
      ]);
      expect(cyclesOfFolders(report)).to.include.members([
        'src/services/events/g -> src/services/events/h',
        'src/cli -> src/cli/parts',
        'src/cli/parts -> src/cli',
      ]);
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  });
});
