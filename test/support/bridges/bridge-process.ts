import { type ChildProcess, spawn } from 'node:child_process';

/** A bridge as a process of its own. */
export class BridgeProcess {
  /** All that it wrote. */
  output = '';
  readonly #process: ChildProcess;
  readonly #exit: Promise<unknown>;

  constructor(command: string, parameters: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.#process = spawn(command, parameters, {
      env: { ...process.env, PYTHONUNBUFFERED: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const take = (chunk: Buffer): void => {
      this.output += chunk.toString();
    };
    this.#process.stdout?.on('data', take);
    this.#process.stderr?.on('data', take);
    this.#exit = new Promise((resolve) => {
      this.#process.once('exit', resolve);
      this.#process.once('error', resolve);
    });
  }

  /** Ends it, as SIGKILL does. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exit;
  }
}
