import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { askSecret } from '#src/app/ask-secret.ts';
import { createApplication } from '#src/app/application.ts';
import { loadConfig } from '#src/app/config/load.ts';
import { generatedFiles } from '#src/app/generated.ts';
import { serve } from '#src/app/lifecycle.ts';
import { importArchive } from '#src/app/import-archive.ts';
import { createLogger } from '#src/app/logger.ts';
import { probeDatabase } from '#src/app/probes.ts';
import { runCli } from '#src/cli/cli.ts';

const code = await runCli(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  askSecret,
  nodeVersion: process.version,
  loadConfig: (files) => loadConfig(files, process.env),
  async start(files) {
    const config = loadConfig(files, process.env);
    return serve({ config, logger: createLogger(config.log), createApplication });
  },
  probeDatabase,
  importArchive: (files, path) => importArchive(loadConfig(files, process.env), path),
  async generate() {
    const written: string[] = [];
    for (const [path, content] of generatedFiles()) {
      const file = fileURLToPath(new URL(`../${path}`, import.meta.url));
      if ((await readFile(file, 'utf8').catch(() => undefined)) === content) continue;
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, content);
      written.push(path);
    }
    return written;
  },
});
process.exit(code);
