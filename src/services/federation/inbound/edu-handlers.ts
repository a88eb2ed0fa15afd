import type { JsonObject } from '#src/protocol/json/json-value.ts';

/**
 * Processes an EDU.
 *
 * @param origin the server that sent it, authenticated
 * @param content as received, not validated
 * @throws MatrixError for malformed content; that is logged, and the others of its transaction are processed
 */
export type EduHandler = (origin: string, content: JsonObject) => Promise<void>;

/** By `edu_type`. EDUs without a handler are ignored. Server-Server API, "EDUs". */
export type EduHandlers = Readonly<Record<string, EduHandler>>;
