import { AsyncLocalStorage } from 'node:async_hooks';

/** A timer that was started and can be called off. */
export interface Timer {
  cancel(): void;
}

/** Waiting as a port. Timers never keep the process alive by themselves. */
export interface Timers {
  /** Calls `callback` once after `ms` milliseconds. */
  after(ms: number, callback: () => void): Timer;
  /** Calls `callback` every `ms` milliseconds until cancelled, as a part of no request. */
  every(ms: number, callback: () => void): Timer;
  /** Resolves after `ms` milliseconds, at once when `signal` is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Runs something as a part of no work. */
const outside = AsyncLocalStorage.snapshot();

/** Timers of the event loop. */
export const systemTimers: Timers = {
  after(ms, callback) {
    const handle = setTimeout(callback, ms);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  every(ms, callback) {
    // What happens again and again is no part of the request that began it, which would be kept, and pay, as long as it goes on.
    const handle = outside(() => setInterval(callback, ms));
    handle.unref();
    return { cancel: () => clearInterval(handle) };
  },
  sleep(ms, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted === true) {
        resolve();
        return;
      }
      const done = (): void => {
        clearTimeout(handle);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const handle = setTimeout(done, ms);
      signal?.addEventListener('abort', done, { once: true });
    });
  },
};
