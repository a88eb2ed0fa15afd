import { BODY_BYTES } from '#src/http/body-sizes.ts';
import { MAX_PIPELINED, ABUSE } from '#src/http/connections.ts';
import { HELD_BYTES } from '#src/http/middleware/body-stream.ts';
import { MAX_DEPTH } from '#src/http/middleware/json-body.ts';
import { SLOWEST_BYTES_PER_SECOND } from '#src/http/middleware/outgoing.ts';
import { DEFAULT_SERVER_LIMITS } from '#src/http/server.ts';
import { FREE_PIECES, BYTES_PER_PIECE } from '#src/kernel/limits/pieces.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';

/** Fixed bounds: connections and requests over HTTP. */
export const CONNECTION_BOUNDS: FixedBounds = {
  title: 'Connections and requests over HTTP',
  why: 'So that no client, and nobody without an account, takes memory and connections that the others need.',
  rows: [
    {
      what: 'Headers of one request',
      most: `${inBytes(DEFAULT_SERVER_LIMITS.maxHeaderBytes)}, all of them within ${inTime(DEFAULT_SERVER_LIMITS.headersTimeoutMs)}`,
      beyond: '431, 408',
    },
    {
      what: 'Body that says little: ids, flags, numbers, short texts (tags, typing, receipts, presence, devices, most of what administrators ask)',
      most: inBytes(BODY_BYTES.small),
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Body that is one record: a push rule, a pusher, a reason, an account',
      most: inBytes(BODY_BYTES.record),
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Body that is the content of one event, a field of a profile, cross-signing keys or a key of a backup: escaped text may be longer than the 64 KiB that are stored',
      most: inBytes(BODY_BYTES.content),
      beyond: '413 `M_TOO_LARGE`',
    },
    {
      what: 'Requests that one connection sends ahead, before the first of them is answered',
      most: String(MAX_PIPELINED),
      beyond: `the connection is closed; that costs ${ABUSE} tokens of \`rate_limits.connection\``,
      metric: 'tsudoi_http_connections_refused_total{reason="pipelining"}',
    },
    {
      what: 'Pieces (network packets, chunks) of a body, and of an answer of another server',
      most: `${FREE_PIECES}, and one more for every ${BYTES_PER_PIECE} bytes`,
      beyond: `the connection is closed; that costs a client ${ABUSE} tokens of \`rate_limits.connection\``,
      metric: 'tsudoi_http_connections_refused_total{reason="pieces"}',
    },
    {
      what: 'Speed at which media are uploaded and downloaded, after the time of `http.body_timeout_ms` or `http.answer_timeout_ms`',
      most: `${inBytes(SLOWEST_BYTES_PER_SECOND)} a second at the least`,
      beyond: '408, or the connection is closed',
    },
    {
      what: 'Memory that one upload or download of media takes of `bytes_in_flight`',
      most: inBytes(HELD_BYTES),
      beyond: '503',
      metric: 'tsudoi_bytes_in_flight_refused_total{cargo}',
    },
    {
      what: 'Nesting of JSON: objects and lists in one another',
      most: String(MAX_DEPTH),
      beyond: '400 `M_BAD_JSON`',
    },
    {
      what: 'Requests of one user, or of one address without a valid access token, that wait for their turn',
      most: 'half of `http.max_concurrent_requests`',
      beyond: '429 `M_LIMIT_EXCEEDED`; for those without an access token the connection is closed',
      metric: 'tsudoi_turns_waiting',
    },
  ],
};
