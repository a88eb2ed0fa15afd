import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect } from 'chai';
import { stopParsing } from '#src/http/middleware/stop-parsing.ts';

const PIECES = 5_000;
const LAST = 10;

describe('what was read from a connection', () => {
  let server: Server;
  /** Pieces that the parser gave for each request. */
  let counts: number[];

  before(async () => {
    server = createServer((request: IncomingMessage, response) => {
      const at = counts.push(0) - 1;
      const push = request.push.bind(request);
      request.push = (piece: unknown): boolean => {
        if (piece !== null) counts[at] = (counts[at] ?? 0) + 1;
        if (request.url !== '/stop' || counts[at] !== LAST) return push(piece);
        stopParsing(request.socket);
        request.socket.destroy();
        return false;
      };
      request
        .on('error', () => undefined)
        .resume()
        .on('end', () => response.end());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  beforeEach(() => {
    counts = [];
  });
  after(() => server.close());

  const ask = async (path: string): Promise<void> => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    const body = `${'1\r\nx\r\n'.repeat(PIECES)}0\r\n\r\n`;
    socket.write(`POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n${body}`);
    await once(socket, 'close');
  };

  it('is passed over once the connection is of no use', async () => {
    await ask('/stop');
    expect(counts).to.deep.equal([LAST]);
  });

  it('does not keep the parser from serving other connections', async () => {
    for (let round = 0; round < 20; round += 1) await Promise.all([ask('/stop'), ask('/all'), ask('/stop')]);
    expect(counts.filter((count) => count === PIECES)).to.have.lengthOf(20);
    expect(counts.filter((count) => count === LAST)).to.have.lengthOf(40);
  });
});
