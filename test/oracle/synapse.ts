import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';

/** The release that the results are compared with. */
export const SYNAPSE = 'matrix-synapse==1.163.2';
const CACHE = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'tsudoi', SYNAPSE.replace('==', '-'));

/**
 * The Python that has Synapse, installed into a virtual environment in the user's cache folder if it is not there yet.
 *
 * @param timeoutMs how long the installation may take
 * @returns its path, or why there is none
 */
export function pythonWithSynapse(timeoutMs: number): { readonly python: string } | { readonly reason: string } {
  const python = join(CACHE, 'bin', 'python');
  if (existsSync(python)) return { python };
  const deadline = Date.now() + timeoutMs;
  const half = `${CACHE}.${process.pid}`;
  const run = (command: string, ...parameters: readonly string[]): string | undefined => {
    const { status, error, stderr } = spawnSync(command, parameters, {
      timeout: Math.max(1, deadline - Date.now()),
      encoding: 'utf8',
      killSignal: 'SIGKILL',
    });
    return status === 0 ? undefined : (error?.message ?? stderr.trim().split('\n').at(-1) ?? 'failed');
  };
  mkdirSync(CACHE.slice(0, CACHE.lastIndexOf('/')), { recursive: true });
  try {
    const failure =
      run('python3', '-m', 'venv', half) ??
      run(
        join(half, 'bin', 'python'),
        '-m',
        'pip',
        'install',
        '--quiet',
        '--retries',
        '1',
        '--only-binary',
        ':all:',
        SYNAPSE,
      ) ??
      run(join(half, 'bin', 'python'), '-c', 'import synapse.storage.databases.main.event_federation');
    if (failure !== undefined) return { reason: failure };
    // Only what is complete gets the name that is looked for.
    renameSync(half, CACHE);
    return { python };
  } catch (error) {
    if (existsSync(python)) return { python };
    return { reason: String(error) };
  } finally {
    rmSync(half, { recursive: true, force: true });
  }
}

/** States to resolve: events, and per case the event ids of each state. */
export interface Question {
  readonly version: string;
  readonly room_id: string;
  readonly events: readonly Pdu[];
  readonly cases: readonly (readonly (readonly string[])[])[];
}

export interface Answer {
  readonly event_ids: readonly string[];
  /** Per case the event ids of the resolved state, sorted. */
  readonly resolved: readonly (readonly string[])[];
}

/** Synapse's resolver as a child process that is asked one room at a time. */
export class SynapseResolver {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(python: string) {
    this.#child = spawn(python, [join(import.meta.dirname, 'synapse_resolver.py')]);
    this.#child.stderr.on('data', (data: Buffer) => (this.#errors += data.toString()));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** @throws Error with Python's traceback if Synapse cannot resolve this */
  async ask(question: Question): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`the resolver ended: ${this.#errors}`);
    const reply = JSON.parse(value) as Answer | { readonly error: string };
    if ('error' in reply) throw new Error(reply.error);
    return reply;
  }

  close(): void {
    this.#child.kill();
  }
}

/** The PDUs of events, in their order. */
export function pdusOf(events: Iterable<IdentifiedPdu>): Pdu[] {
  return [...events].map(({ pdu }) => pdu);
}
