import { execFile } from 'node:child_process';
import { mkdtemp, mkdir, readdir, rm, writeFile, cp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const HOME = fileURLToPath(new URL('../../', import.meta.url));
const DEPCRUISE = join(HOME, 'node_modules', 'dependency-cruiser', 'bin', 'dependency-cruise.mjs');

interface Report {
  readonly modules: readonly { readonly source: string }[];
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

describe('the import law', function () {
  this.timeout(60_000);

  it('is kept by every file of src/ and migrations/, and every one of them was looked at', async () => {
    const report = await cruise(HOME, ['src', 'migrations']);
    const seen = new Set(report.modules.map((module) => module.source));
    const unseen = [...(await filesOf('src')), ...(await filesOf('migrations'))].filter((file) => !seen.has(file));
    expect(unseen).to.deep.equal([]);
    const violations = report.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`);
    expect(violations).to.deep.equal([]);
  });

  it('catches an import that points up, one between siblings, one of SQL, and a cycle', async () => {
    const home = await mkdtemp(join(tmpdir(), 'tsudoi-test-layering-'));
    try {
      await mkdir(join(home, 'config/tools'), { recursive: true });
      for (const file of ['config/tools/layering.cjs', 'tsconfig.json', 'package.json']) {
        await cp(join(HOME, file), join(home, file));
      }
      const files: Record<string, string> = {
        'src/kernel/clock.ts': `import '#src/services/rooms.ts';`,
        'src/services/rooms.ts': `export type { Pool } from 'pg';`,
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
      const { summary } = await cruise(home, ['src']);
      const broken = summary.violations.map(({ rule }) => rule.name);
      expect(broken).to.include.members([
        'kernel-imports-down',
        'http-imports-down',
        'ws-imports-down',
        'no-cycles',
        'only-storage-talks-sql',
      ]);
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  });
});
