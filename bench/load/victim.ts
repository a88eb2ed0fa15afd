import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { HttpConnection, requestText, type Endpoint } from './http.ts';
import { sendPath, SIXTY } from './people.ts';

/** Somebody who sends ten messages a second, on a thread of their own: how busy the attackers are does not count. */
const { endpoint, token, room } = workerData as { endpoint: Endpoint; token: string; room: string };
const connection = new HttpConnection(endpoint);
let sent = 0;

parentPort?.on('message', async (milliseconds: number) => {
  const latencies: number[] = [];
  for (const end = performance.now() + milliseconds; performance.now() < end; await sleep(100)) {
    const text = requestText('PUT', sendPath(room, `v${(sent += 1)}`), token, { msgtype: 'm.text', body: SIXTY });
    const from = performance.now();
    await connection.send(text).catch(() => undefined);
    latencies.push(performance.now() - from);
  }
  parentPort?.postMessage(latencies);
});
