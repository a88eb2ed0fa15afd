import type { JsonObject } from '#src/protocol/json/json-value.ts';

/**
 * Processes EDUs. Their contents are as received, not validated.
 *
 * - `each`: one after the other. One that throws a MatrixError for malformed content is logged, and the others are processed.
 * - `all`: those of one type in a transaction together, in their order: what they name is looked up in one statement for all. Malformed ones are
 *   dropped.
 *
 * @param origin the server that sent them, authenticated
 */
export type EduHandler =
  | { readonly each: (origin: string, content: JsonObject) => Promise<void> }
  | { readonly all: (origin: string, contents: readonly JsonObject[]) => Promise<void> };

/** By `edu_type`. EDUs without a handler are ignored. Server-Server API, "EDUs". */
export type EduHandlers = Readonly<Record<string, EduHandler>>;
