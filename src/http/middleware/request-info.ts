import type { ServerResponse } from 'node:http';
import type { RequestInfo } from '../endpoint.ts';

/** The requests that wait on their signal, so that a drain reaches all of them through one listener. */
export class OpenRequests {
  readonly #controllers = new Set<AbortController>();
  readonly #drainSignal: AbortSignal;

  constructor(drainSignal: AbortSignal) {
    this.#drainSignal = drainSignal;
    drainSignal.addEventListener(
      'abort',
      () => {
        for (const controller of this.#controllers) controller.abort();
      },
      { once: true },
    );
  }

  /** A signal that aborts when the response is closed before it was finished, or when the server drains. */
  signalFor(response: ServerResponse): AbortSignal {
    const controller = new AbortController();
    if (this.#drainSignal.aborted || response.destroyed) {
      controller.abort();
      return controller.signal;
    }
    this.#controllers.add(controller);
    response.once('close', () => {
      this.#controllers.delete(controller);
      if (!response.writableFinished) controller.abort();
    });
    return controller.signal;
  }
}

/** RequestInfo whose signal is made only for the endpoints that look at it. */
export class LazyRequestInfo implements RequestInfo {
  readonly requestId: string;
  readonly ip: string;
  readonly userAgent: string | undefined;
  readonly path: string;
  readonly #open: OpenRequests;
  readonly #response: ServerResponse;
  #signal: AbortSignal | undefined;

  constructor(
    requestId: string,
    ip: string,
    userAgent: string | undefined,
    path: string,
    open: OpenRequests,
    response: ServerResponse,
  ) {
    this.requestId = requestId;
    this.ip = ip;
    this.userAgent = userAgent;
    this.path = path;
    this.#open = open;
    this.#response = response;
  }

  get signal(): AbortSignal {
    return (this.#signal ??= this.#open.signalFor(this.#response));
  }
}
