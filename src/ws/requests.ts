import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { assertJsonObject, isJsonObject } from '#src/protocol/json/json-value.ts';
import { refuseWrittenFloats } from '#src/protocol/json/written-floats.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { assertMayCall } from '#src/services/accounts/admission/access-rules.ts';
import type { WebSocketLimits } from './dependencies.ts';
import type { RequestFrame } from './frames.ts';
import type { Method, StreamSettings } from './method.ts';
import { type AdmissionDesk, takeToken } from './admission.ts';

/**
 * Takes a request through its steps, the same ones in the same order as over HTTP: method, how many run, rate limit, rules for guests and
 * suspended users, validation, handler.
 *
 * @param method undefined when there is none of that name
 * @param inFlight requests of this socket that run, this one included
 */
export const runRequest = async (
  { admission, services, limits }: AdmissionDesk & { readonly limits: WebSocketLimits },
  method: Method | undefined,
  { method: name, params, text }: RequestFrame,
  requester: Requester,
  stream: StreamSettings | undefined,
  inFlight: number,
): ReturnType<Method['handle']> => {
  const isTooMany = inFlight > limits.maxInFlight || stream === undefined;
  if (method === undefined || isTooMany) {
    // What is refused costs too.
    if (requester.rateLimited) admission.unaccounted(requester.userId);
    throw method === undefined ? unknownMethod(name) : tooManyAtOnce(limits.maxInFlight);
  }
  takeToken(admission, method.rateLimit, requester);
  const waiting = admission.turn(requester.userId);
  if (waiting !== undefined) await waiting;
  assertMayCall(requester, method);
  const context = { params: params as never, requester, services, stream };
  try {
    method.validate(params);
    if (method.eventContent === true) {
      assertJsonObject(params, 'params', true);
      refuseWrittenFloats(text);
    }
    return await method.handle(context);
  } catch (error) {
    const mayBeEarlier = error instanceof MatrixError && isNamed(method, params);
    const answer = mayBeEarlier ? await method.earlierAnswer?.(context) : undefined;
    if (answer === undefined) throw error;
    return answer;
  }
};

/** Whether what a transaction is known by is as it must be, whatever is to be sent. */
const isNamed = (method: Method, params: unknown): boolean => {
  if (method.earlierAnswer === undefined || !isJsonObject(params)) return false;
  const { content: _content, reason: _reason, ...named } = params;
  try {
    method.validate(method.eventContent === true ? { ...named, content: {} } : named);
    return true;
  } catch {
    return false;
  }
};

const unknownMethod = (name: unknown): MatrixError =>
  typeof name === 'string'
    ? new MatrixError('M_UNRECOGNIZED', 'This server does not know that method.')
    : new MatrixError(
        name === undefined ? 'M_MISSING_PARAM' : 'M_BAD_JSON',
        'A request needs a method, which is a string.',
      );

const tooManyAtOnce = (most: number): MatrixError =>
  limitExceeded('in_flight', 1_000, `More than ${most} requests of this socket are running: wait for their answers.`);
