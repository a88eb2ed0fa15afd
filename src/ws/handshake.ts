import type { Duplex } from 'node:stream';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** Ends a handshake with an answer of HTTP. A peer who does not hang up is not waited for. */
export const refuseHandshake = (socket: Duplex, error: MatrixError): void => {
  const body = JSON.stringify(error.toBody());
  socket.once('finish', () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${error.status} Refused\r\nConnection: close\r\nContent-Type: application/json\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
};
