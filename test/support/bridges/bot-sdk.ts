import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

/** The release that is run as it is. */
export const BOT_SDK = 'matrix-bot-sdk@0.8.0';
export const INSTALLATION_MS = 180_000;

/**
 * Where the SDK is, installed into the user's cache folder if it is not there yet: it brings along so much that nobody wants it among what
 * this server is developed with.
 *
 * @returns its `node_modules`, or why there is none
 */
export function modulesWithBotSdk(): { readonly modules: string } | { readonly reason: string } {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tsudoi');
  const home = join(cache, BOT_SDK.replace('@', '-'));
  const modules = join(home, 'node_modules');
  if (existsSync(modules)) return { modules };
  const half = `${home}.${process.pid}`;
  mkdirSync(half, { recursive: true });
  mkdirSync(dirname(home), { recursive: true });
  try {
    writeFileSync(join(half, 'package.json'), '{"private":true}');
    const parameters = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--save-exact', BOT_SDK];
    const { error, status, stderr } = spawnSync('npm', parameters, {
      cwd: half,
      timeout: INSTALLATION_MS,
      encoding: 'utf8',
      killSignal: 'SIGKILL',
    });
    if (status !== 0) return { reason: error?.message ?? stderr.trim().split('\n').at(-1) ?? 'failed' };
    // Only what is complete gets the name that is looked for.
    renameSync(half, home);
    return { modules };
  } catch (error) {
    return existsSync(modules) ? { modules } : { reason: String(error) };
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
}
