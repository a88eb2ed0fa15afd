/** A timer that was started and can be called off. */
export interface Timer {
  cancel(): void;
}

/** Waiting as a port. Timers never keep the process alive by themselves. */
export interface Timers {
  /** Calls `callback` once after `ms` milliseconds. */
  after(ms: number, callback: () => void): Timer;
  /** Calls `callback` every `ms` milliseconds until cancelled. */
  every(ms: number, callback: () => void): Timer;
  /** Resolves after `ms` milliseconds, at once when `signal` is aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Timers of the event loop. */
export const systemTimers: Timers = {
  after(ms, callback) {
    const handle = setTimeout(callback, ms);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  every(ms, callback) {
    const handle = setInterval(callback, ms);
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
