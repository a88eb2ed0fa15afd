import type { JsonObject } from '#src/protocol/json/json-value.ts';

/**
 * Does what an EDU says.
 *
 * @param origin the server that sent it, which is known to be it
 * @param content as it came: nothing of it was checked
 * @throws MatrixError for content that makes no sense; that is noted, and the others of its transaction are done all the same
 */
export type EduHandler = (origin: string, content: JsonObject) => Promise<void>;

/** By `edu_type`. What none of them is for is ignored. Server-Server API, "EDUs". */
export type EduHandlers = Readonly<Record<string, EduHandler>>;
