import { Worker } from 'node:worker_threads';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import type { FromWorker, ResolutionTask, TaskEvent, ToWorker } from './resolution-messages.ts';

/** Events that are read and handed over at once: the event loop is free in between. */
const SLICE = 250;

/** A thread of its own for the resolution of large forks. It is started with the first of them; they take turns in it. */
export class ResolutionThread {
  readonly #turns = new SerialByKey<'thread'>();
  #worker: Worker | undefined;
  #isClosed = false;

  /**
   * Resolves states.
   *
   * @param first events that the resolution will surely ask for
   * @param read reads events; those that do not exist are left out
   * @returns the resolved state: `stateMapKey` -> position
   */
  resolve(
    task: ResolutionTask,
    first: readonly number[],
    read: (nids: readonly number[]) => Promise<readonly TaskEvent[]>,
  ): Promise<Map<string, number>> {
    return this.#turns.run('thread', async () => {
      if (this.#isClosed) throw new Error('the server is shutting down');
      this.#worker ??= this.#start();
      const worker = this.#worker;
      const post = (message: ToWorker): void => worker.postMessage(message);
      post({ kind: 'begin', task });
      for (let wanted = first; ;) {
        for (let at = 0; at < wanted.length; at += SLICE) {
          post({ kind: 'events', events: await read(wanted.slice(at, at + SLICE)) });
        }
        // While events were read it may have ended, and then it says so no more.
        if (this.#worker !== worker) throw hasEnded();
        const answered = this.#answer(worker);
        post({ kind: 'run' });
        const answer = await answered;
        if (answer.kind === 'failed') throw new Error(`a fork could not be resolved: ${answer.reason}`);
        if (answer.kind === 'resolved')
          return new Map(answer.keys.map((key, index) => [key, answer.events[index] ?? 0]));
        wanted = answer.nids;
      }
    });
  }

  /** Ends the thread. What runs in it is given up. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL('./resolution-worker.ts', import.meta.url), { execArgv: [] });
    // An idle thread keeps no process alive.
    worker.unref();
    const forget = (): void => {
      if (this.#worker === worker) this.#worker = undefined;
    };
    worker.on('error', forget);
    worker.on('exit', forget);
    return worker;
  }

  #answer(worker: Worker): Promise<FromWorker> {
    const { promise, resolve, reject } = Promise.withResolvers<FromWorker>();
    const onMessage = (answer: FromWorker): void => resolve(answer);
    const onError = (error: Error): void => reject(error);
    const onExit = (): void => reject(hasEnded());
    worker.on('message', onMessage).on('error', onError).on('exit', onExit);
    return promise.finally(() => {
      worker.off('message', onMessage).off('error', onError).off('exit', onExit);
    });
  }
}

const hasEnded = (): Error => new Error('the thread of state resolution has ended');
