import type { IncomingMessage } from 'node:http';
import { type BytesHeld, bytesOfJson } from '#src/kernel/limits/bytes-in-flight.ts';
import type { Deadlines } from '#src/kernel/deadlines.ts';
import type { Eventually } from '#src/kernel/concurrency/steps.ts';
import type { Work } from '#src/kernel/event-loop/work.ts';
import { LARGE_JSON } from '#src/protocol/json/parse-in-pieces.ts';
import { BODY_BYTES } from './body-sizes.ts';
import type { HttpLimits } from './dependencies.ts';
import type { Endpoint } from './endpoint.ts';
import { noRoom, readBody } from './middleware/body.ts';
import { parseBody, parseLargeBody } from './middleware/json-body.ts';
import { type BodyLimit, FormBody, RawBody, StreamBody } from './middleware/body-declaration.ts';
import { bodyStream } from './middleware/body-stream.ts';
import { parseForm } from './middleware/form.ts';

/** The body of a request: as it arrived, and as the endpoint declares it. */
export interface ReceivedBody {
  /** Empty for a stream, and where the endpoint wants no body. */
  readonly bytes: Buffer;
  readonly value: unknown;
}

/** What receiving a body needs. */
export interface BodyReceiving {
  readonly limits: HttpLimits;
  readonly deadlines: Deadlines;
  /** Knows the sender of the request, once it is authenticated. */
  readonly held: BytesHeld;
  /** Counts what is received. */
  readonly work: Work;
  /** Waits until there is time to look at it. */
  readonly turn: () => Promise<void> | undefined;
}

/** Where an endpoint takes larger bodies than usual, they may hold more values: one for each of so many bytes. */
const BYTES_PER_VALUE = 64;

/** What a body became is not counted up to this: as many requests as may wait for long with it do no harm. */
const SMALL = 32 * 1024;

const EMPTY = Buffer.alloc(0);
const NO_BODY: ReceivedBody = { bytes: EMPTY, value: undefined };

const bytesOf = (limit: BodyLimit, limits: HttpLimits): number => (limit === 'upload' ? limits.maxUploadBytes : limit);

/** Bytes that Node reads from a socket at once. */
const CHUNK_BYTES = 64 * 1024;

const mayBeLarge = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > CHUNK_BYTES;

/** The bytes that the body of a request may have. */
export const mostBytes = (
  { body, eventBody, maxBodyBytes }: Endpoint,
  limits: HttpLimits,
  usual = limits.maxBodyBytes,
): number => {
  if (body instanceof RawBody) return bytesOf(body.maxBytes, limits);
  return maxBodyBytes ?? (eventBody === 'one' ? Math.min(BODY_BYTES.content, usual) : usual);
};

/**
 * Receives the body that an endpoint declares. Where a signature covers the request (`server`, `appservice`), a body that is not declared is
 * read as well, since the signature covers it too; large JSON is then parsed later, by `parseReceived`: not before its sender is proved.
 *
 * @throws MatrixError as `readBody` does; M_NOT_JSON, M_BAD_JSON
 * @throws ClientGone
 */
export const receiveBody = async (
  request: IncomingMessage,
  endpoint: Endpoint,
  receiving: BodyReceiving,
): Promise<ReceivedBody> => {
  const { auth, body } = endpoint;
  const { limits, deadlines, held, work, turn } = receiving;
  const isSigned = auth === 'server' || auth === 'appservice';
  const isRead = !(body instanceof StreamBody) && (body !== undefined || isSigned);
  if (!isRead) {
    const waiting = turn();
    if (waiting !== undefined) await waiting;
    if (!(body instanceof StreamBody)) return NO_BODY;
    const reading = { limit: bytesOf(body.maxBytes, limits), timeoutMs: limits.bodyTimeoutMs, deadlines, held };
    return { bytes: EMPTY, value: bodyStream(request, reading, work) };
  }
  const isOfStranger = !isSigned && held.userId === undefined;
  const usual = isOfStranger ? limits.maxStrangerBodyBytes : limits.maxBodyBytes;
  const limit = mostBytes(endpoint, limits, usual);
  // Reading a large one costs as much as parsing it: a client that sends many waits before that, and TCP slows it down.
  const beginning = mayBeLarge(request) ? turn() : undefined;
  if (beginning !== undefined) await beginning;
  const bytes = await readBody(request, { limit, timeoutMs: limits.bodyTimeoutMs, deadlines, held });
  const waiting = turn();
  if (waiting !== undefined) await waiting;
  work.bytesIn = bytes.length;
  if (isSigned && bytes.length >= LARGE_JSON) return { bytes, value: undefined };
  return parseReceived(bytes, endpoint, receiving);
};

/**
 * What the endpoint declares, of a body that was received. Large JSON is parsed in several turns of the event loop.
 *
 * @throws MatrixError M_NOT_JSON, M_BAD_JSON, M_TOO_LARGE
 */
export const parseReceived = (
  bytes: Buffer,
  { body, bodyOptional, eventBody, maxBodyBytes }: Endpoint,
  { limits, work }: BodyReceiving,
): Eventually<ReceivedBody> => {
  if (body instanceof RawBody) return { bytes, value: bytes };
  if (body instanceof FormBody) return { bytes, value: parseForm(bytes) };
  if (bytes.length === 0 && (bodyOptional === true || body === undefined))
    return body === undefined ? NO_BODY : { bytes, value: {} };
  const maxValues = Math.max(limits.maxJsonValues, Math.floor((maxBodyBytes ?? 0) / BYTES_PER_VALUE));
  if (bytes.length >= LARGE_JSON && eventBody === undefined)
    return parseLargeBody(bytes, maxValues, work).then((value) => ({ bytes, value }));
  return { bytes, value: parseBody(bytes, eventBody, maxValues, work) };
};

/**
 * Counts what a body became as long as the request is worked on, where it holds many values.
 *
 * @throws MatrixError M_LIMIT_EXCEEDED with status 503 when there is no room for it
 */
export const holdParsed = (held: BytesHeld, { bytesIn, jsonValues }: Work): void => {
  const bytes = bytesOfJson(bytesIn, jsonValues);
  if (bytes > SMALL && !held.hold('body', Math.max(held.bytes, bytes))) throw noRoom();
};
