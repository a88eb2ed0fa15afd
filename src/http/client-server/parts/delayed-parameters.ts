import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

const DELAY = 'org.matrix.msc4140.delay';
const PARENT = 'org.matrix.msc4140.parent_delay_id';

/** Parameters of /send and /state by which clients schedule events that know MSC4140 from before it had an endpoint for that. */
export const delayParameters = {
  [DELAY]: Type.Optional(Type.Integer({ minimum: 1 })),
  [PARENT]: Type.Optional(Type.String()),
};

export const delayIdAnswer = Type.Object({ delay_id: Type.String() });

/** The answer for a delayed event, if there is one. */
export const delayIdOf = (delayId: string | undefined): { delay_id: string } | undefined =>
  delayId === undefined ? undefined : { delay_id: delayId };

/**
 * Milliseconds after which the event is to be sent; undefined: at once.
 *
 * @throws MatrixError M_INVALID_PARAM for what the proposal had once and has no more: sent at once it would be sent at the wrong time
 */
export const delayOf = (query: { readonly [DELAY]?: number; readonly [PARENT]?: string }): number | undefined => {
  if (query[PARENT] !== undefined)
    throw new MatrixError(
      'M_INVALID_PARAM',
      `${PARENT} is no longer part of MSC4140: events have a delay of their own.`,
    );
  return query[DELAY];
};
