import { createServer } from 'node:net';

/** Below the ports that the operating system gives to connections: one of those may be taken until the server listens. */
const FIRST_PORT = 10_000;
const PORTS = 20_000;
const given = new Set<number>();

/** A TCP port of the loopback interface that is free and was not given out before in this process. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST_PORT + Math.floor(Math.random() * PORTS);
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const probe = createServer();
    probe.on('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
