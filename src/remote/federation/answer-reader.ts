import type { Readable } from 'node:stream';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { type AnswerBytes, type HeldAnswers, SMALL_ANSWER } from './answer-bytes.ts';
import { parsedObject } from './federation-answer.ts';
import { type FederationFailure, federationFailure } from './federation-result.ts';
import { failureOfError } from './request-failure.ts';

/** What a value of a response weighs beside its text. */
const BYTES_OF_VALUE = 32;

/** How a response is read. */
interface AnswerReading {
  readonly destination: string;
  /** Bytes that it may have. */
  readonly most: number;
  readonly held: HeldAnswers | undefined;
  readonly isCounted?: false | undefined;
  readonly signal: AbortSignal;
}

/** Reads the bodies of other servers' responses: each within its limit, and all within the memory that there is for responses. */
export class AnswerReader {
  readonly #answers: AnswerBytes;

  constructor(answers: AnswerBytes) {
    this.#answers = answers;
  }

  /** The JSON object that a response is; undefined where it is none. */
  async readObject(
    body: Readable,
    { destination, held, isCounted, most, signal }: AnswerReading,
  ): Promise<{ readonly body: JsonObject | undefined } | FederationFailure> {
    const { NoRoomError, readUpTo, TooManyPiecesError } = await import('../read-up-to.ts');
    const room = held ?? this.#answers.open(most, destination);
    let taken = 0;
    /** Takes what is more than before, or gives back what is less. Small answers take nothing. */
    const weigh = async (bytes: number): Promise<boolean> => {
      const more = (bytes <= SMALL_ANSWER ? 0 : bytes) - taken;
      if (more > 0 && !(await room.take(more, signal))) return false;
      if (more < 0) room.give(-more);
      taken += more;
      return true;
    };
    let isHeld = false;
    try {
      const { bytes, isCut } = await readUpTo(body as never, most, isCounted === false ? undefined : weigh);
      if (isCut)
        return federationFailure('too_large', destination, `${destination} answered with more than ${most} bytes.`);
      const parsed = await parsedObject(bytes, most, async (values) => {
        if (held !== undefined && !(await weigh(bytes.length + BYTES_OF_VALUE * values))) throw new NoRoomError();
      });
      // Nobody gets a response that comes too late.
      isHeld = held !== undefined && !signal.aborted;
      return { body: parsed };
    } catch (error) {
      if (error instanceof TooManyPiecesError)
        return federationFailure('bad_answer', destination, `${destination} answered in too many pieces.`);
      // What was given up found no room because of that, and without others beside it, a response is one for which there never is any.
      if (error instanceof NoRoomError && !signal.aborted)
        return federationFailure(
          held === undefined ? 'too_large' : 'busy',
          destination,
          `There is no memory for the answer of ${destination}.`,
        );
      return failureOfError(error, destination, signal);
    } finally {
      if (!isHeld) room.give(taken);
    }
  }
}
