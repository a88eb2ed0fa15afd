import { MAX_SILENCE } from '#src/ws/connection.ts';
import { DEFAULT_WEBSOCKET_LIMITS } from '#src/ws/dependencies.ts';
import { MAX_DEPTH } from '#src/ws/frames.ts';
import { MAX_FRAGMENTS, MAX_BUFFERED_CHUNKS } from '#src/ws/web-socket-api.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';

/** Fixed bounds: webSockets of users. */
export const WEBSOCKET_BOUNDS: FixedBounds = {
  title: 'WebSockets of users',
  why: 'A socket is open for days, so what comes over it is limited frame by frame.',
  rows: [
    {
      what: 'One frame',
      most: `${inBytes(DEFAULT_WEBSOCKET_LIMITS.maxFrameBytes)}; ${inBytes(DEFAULT_WEBSOCKET_LIMITS.maxStrangerFrameBytes)} before authentication`,
      beyond: 'the socket is closed with 1009',
      metric: 'tsudoi_websocket_dropped_total{reason}',
    },
    {
      what: 'JSON of one frame',
      most: `${DEFAULT_WEBSOCKET_LIMITS.maxJsonValues} values, nested ${MAX_DEPTH} deep`,
      beyond: 'the socket is closed',
      metric: 'tsudoi_websocket_dropped_total{reason}',
    },
    {
      what: 'Fragments of one message',
      most: String(MAX_FRAGMENTS),
      beyond: 'the socket is closed',
      metric: 'tsudoi_websocket_dropped_total{reason}',
    },
    {
      what: 'Pieces in which one frame arrives',
      most: String(MAX_BUFFERED_CHUNKS),
      beyond: 'the socket is closed',
      metric: 'tsudoi_websocket_dropped_total{reason}',
    },
    {
      what: 'Requests of one socket at the same time',
      most: DEFAULT_WEBSOCKET_LIMITS.maxInFlight,
      beyond: '`M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="in_flight"}',
    },
    {
      what: 'Refused requests of one socket between two heartbeats',
      most: DEFAULT_WEBSOCKET_LIMITS.maxRefusals,
      beyond: 'the socket is closed with 4005',
      metric: 'tsudoi_websocket_dropped_total{reason}',
    },
    {
      what: 'Pings and pongs of one socket between two heartbeats',
      most: DEFAULT_WEBSOCKET_LIMITS.maxControlFrames,
      beyond: 'the socket is cut',
      metric: 'tsudoi_websocket_dropped_total{reason}',
    },
    {
      what: 'Time to authenticate',
      most: inTime(DEFAULT_WEBSOCKET_LIMITS.authTimeoutMs),
      beyond: 'the socket is closed with 4001',
      metric: 'tsudoi_websocket_dropped_total{reason}',
    },
    {
      what: 'Heartbeats in a row that a client leaves unanswered',
      most: String(MAX_SILENCE),
      beyond: 'the socket is cut',
      metric: 'tsudoi_websocket_dropped_total{reason}',
    },
  ],
};
