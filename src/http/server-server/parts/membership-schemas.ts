import { Type } from 'typebox';

/** Any JSON object: a PDU, whose form depends on the version of its room. */
export const pdu = Type.Record(Type.String(), Type.Unknown());

export const roomAndUser = Type.Object({ roomId: Type.String(), userId: Type.String() });

export const roomAndEvent = Type.Object({ roomId: Type.String(), eventId: Type.String() });

/** Which room versions the other server understands; "if not provided, the default is 1". */
export const versionsQuery = Type.Object({ ver: Type.Optional(Type.Array(Type.String())) });

/** A template of an event, to be completed and signed. */
export const templateAnswer = Type.Object({ room_version: Type.String(), event: pdu });
