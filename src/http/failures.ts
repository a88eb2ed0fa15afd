import { internalError } from '#src/protocol/errors/internal-error.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { RefusalCounter } from '#src/services/accounts/admission/refusal-counter.ts';
import type { HttpDependencies } from './dependencies.ts';
import type { Exchange } from './exchange.ts';

/** Says what a client is answered for what was thrown, counts what was limited, and logs what is a bug. */
export class Failures {
  readonly #deps: Pick<HttpDependencies, 'explain' | 'logger'>;
  readonly #refusals: RefusalCounter;

  constructor(deps: Pick<HttpDependencies, 'explain' | 'logger' | 'metrics'>) {
    this.#deps = deps;
    this.#refusals = new RefusalCounter(deps.metrics, 'http');
  }

  /** The answer to what was thrown. What is not a MatrixError is a bug: it is logged, and the client learns nothing about it. */
  errorOf(error: unknown, { operation, requestId }: Exchange): MatrixError {
    if (error instanceof MatrixError) {
      this.#refusals.count(error);
      return error;
    }
    const explained = this.#deps.explain?.(error);
    if (explained !== undefined) return explained;
    this.#deps.logger.error('a request failed unexpectedly', {
      err: error instanceof Error ? error : new Error(String(error)),
      operation: operation?.name,
      request_id: requestId,
    });
    return internalError({ request_id: requestId });
  }
}
