import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCli } from '#src/cli/cli.ts';
import { askSecret } from './ask-secret.ts';
import { loadConfig } from './config/load.ts';

/** Aborted when the process is asked to end. */
const ended = (): AbortSignal => {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => stop.abort());
  return stop.signal;
};

/**
 * Runs the command that `argv` names; each loads what it needs when it is called.
 *
 * @returns the exit code
 */
export function runCommand(argv: readonly string[]): Promise<number> {
  return runCli(argv, {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    askSecret,
    now: Date.now,
    nodeVersion: process.version,
    loadConfig: (files) => loadConfig(files, process.env),
    async start(files) {
      const config = loadConfig(files, process.env);
      const { createLogger } = await import('./logger.ts');
      const { serve } = await import('./lifecycle.ts');
      return serve({
        config,
        logger: await createLogger(config.log),
        // Loaded while PostgreSQL starts, and compiled once for all starts.
        loadApplication: async () => {
          const { createApplication } = await import('./application.ts');
          return createApplication;
        },
        loaded: () => flushCompileCache(),
      });
    },
    async probeDatabase(url) {
      const probes = await import('./probes.ts');
      return probes.probeDatabase(url);
    },
    async probeMail(files) {
      const probes = await import('./probes.ts');
      return probes.probeMail(loadConfig(files, process.env));
    },
    async inspect(files) {
      const { checksOf } = await import('./doctor/checks.ts');
      return checksOf(loadConfig(files, process.env));
    },
    async importArchive(files, path) {
      const { importArchive } = await import('./import-archive.ts');
      return importArchive(loadConfig(files, process.env), path);
    },
    async moveMedia(files) {
      const { moveMedia } = await import('./move-media.ts');
      return moveMedia(loadConfig(files, process.env), (text) => void process.stderr.write(text), ended());
    },
    async runDatabase(files, onReady) {
      const { runDatabase } = await import('./run-database.ts');
      await runDatabase(loadConfig(files, process.env), onReady, ended());
    },
    async rotateSigningKey(files) {
      const { rotateSigningKey } = await import('./rotate-signing-key.ts');
      return rotateSigningKey(loadConfig(files, process.env));
    },
    async administrate(files, work) {
      const { administrate } = await import('./administrate.ts');
      return administrate(loadConfig(files, process.env), work);
    },
    async generate() {
      const { generatedFiles } = await import('./generated.ts');
      const written: string[] = [];
      for (const [path, content] of generatedFiles()) {
        const file = fileURLToPath(new URL(`../../${path}`, import.meta.url));
        if ((await readFile(file, 'utf8').catch(() => undefined)) === content) continue;
        await mkdir(dirname(file), { recursive: true });
        await writeFile(file, content);
        written.push(path);
      }
      return written;
    },
  });
}
