import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { HttpConnection, requestText, type Endpoint } from './http.ts';
import { sendPath, SIXTY } from './people.ts';

/** What a victim noticed, in milliseconds. */
export interface Suffering {
  /** How long each message took. */
  readonly sends: number[];
  /** How long each question took whether the server lives. */
  readonly gaps: number[];
}

/**
 * Somebody who sends ten messages a second, and asks twenty times a second whether the server lives: on a thread of their own, so that it
 * does not count how busy the attackers are.
 */
const { endpoint, token, room } = workerData as { endpoint: Endpoint; token: string; room: string };
const sending = new HttpConnection(endpoint);
const probing = new HttpConnection(endpoint);
let sent = 0;

const again = async (milliseconds: number, pause: number, request: () => Promise<unknown>): Promise<number[]> => {
  const took: number[] = [];
  for (const end = performance.now() + milliseconds; performance.now() < end; await sleep(pause)) {
    const from = performance.now();
    await request().catch(() => undefined);
    took.push(performance.now() - from);
  }
  return took;
};

parentPort?.on('message', async (milliseconds: number) => {
  const message = { msgtype: 'm.text', body: SIXTY };
  const [sends, gaps] = await Promise.all([
    again(milliseconds, 100, () => sending.send(requestText('PUT', sendPath(room, `v${(sent += 1)}`), token, message))),
    again(milliseconds, 50, () => probing.send(requestText('GET', '/livez'))),
  ]);
  parentPort?.postMessage({ sends, gaps } satisfies Suffering);
});
