import { execFile } from 'node:child_process';
import { closeSync, fdatasyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { arch, availableParallelism, cpus, platform, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { percentile } from './workload.ts';

/** The machine of the measurement. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly kernel: string;
  readonly node: string;
  readonly postgres: string;
  /** Median milliseconds of writing 8 KiB and waiting until the disk has it: no commit is faster. */
  readonly diskSyncMs: number;
  readonly openFiles: number;
  /** The commit that was measured, with a + when files were changed since. */
  readonly revision: string;
}

export async function describeMachine(postgres: string, openFiles: number): Promise<Machine> {
  const processor = cpus()[0]?.model.replace(/\s+/g, ' ').trim() ?? '';
  return {
    processor: processor === '' ? arch() : processor,
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    system: systemName(),
    kernel: `${platform()} ${release()}`,
    node: process.version,
    postgres,
    diskSyncMs: diskSyncMs(),
    openFiles,
    revision: await revision(),
  };
}

/** A short name for file names: processor and cores. */
export function machineName({ processor, cores }: Pick<Machine, 'processor' | 'cores'>): string {
  const slug = processor
    .toLowerCase()
    .replace(/\((r|tm)\)/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
  return `${slug.slice(0, 40)}-${cores}-cores`;
}

function systemName(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]+)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? platform();
  } catch {
    return platform();
  }
}

function diskSyncMs(): number {
  const folder = mkdtempSync(join(tmpdir(), 'tsudoi-bench-disk-'));
  try {
    const file = openSync(join(folder, 'probe'), 'w');
    const page = Buffer.alloc(8192, 1);
    const times: number[] = [];
    for (let i = 0; i < 200; i += 1) {
      const start = performance.now();
      writeSync(file, page);
      fdatasyncSync(file);
      times.push(performance.now() - start);
    }
    closeSync(file);
    return percentile(times, 0.5);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function revision(): Promise<string> {
  const git = (...args: string[]): Promise<string> =>
    new Promise((resolve) => {
      execFile('git', args, { cwd: import.meta.dirname }, (error, stdout) =>
        resolve(error === null ? stdout.trim() : ''),
      );
    });
  return Promise.all([git('rev-parse', '--short', 'HEAD'), git('status', '--porcelain', '--untracked-files=no')]).then(
    ([commit, changed]) => (commit === '' ? 'unknown' : commit + (changed === '' ? '' : '+')),
  );
}
