import { setTimeout as sleep } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { HttpConnection, requestText, type Answer, type Endpoint } from './http.ts';
import { PASSWORD, sendPath, SIXTY } from './people.ts';

/** What is to be noticed, and for how long. */
export interface Watch {
  readonly milliseconds: number;
  /** Whose logins are tried too. */
  readonly logsIn?: string | undefined;
}

/** Latencies of the bystander, in milliseconds. */
export interface BystanderLatencies {
  /** How long each message took. */
  readonly sends: number[];
  /** Latency of each /livez request. */
  readonly gaps: number[];
  /** How long it took until each login succeeded, from an address where the account is in use; what never did, took to the end. */
  readonly knownLogins: number[];
  /** The same from addresses that nobody ever logged in from. */
  readonly newLogins: number[];
}

/** Fewer logins than an account may have while nobody attacks (`rate_limits.login_success`), both kinds together. */
const LOGIN_PAUSE_MS = 1_200;
/** Somebody who was refused tries again after so long. */
const RETRY_MS = 500;

/**
 * A user who sends ten messages and twenty /livez requests a second, on a separate thread, so that the measurement
 * does not include the attackers' load. And somebody who logs in, where that is what an attack may make worse.
 */
const { endpoint, token, room } = workerData as { endpoint: Endpoint; token: string; room: string };
const sending = new HttpConnection(endpoint);
const probing = new HttpConnection(endpoint);
let sent = 0;
let addresses = 0;

const again = async (milliseconds: number, pause: number, request: () => Promise<unknown>): Promise<number[]> => {
  const took: number[] = [];
  for (const end = performance.now() + milliseconds; performance.now() < end; await sleep(pause)) {
    const from = performance.now();
    await request().catch(() => undefined);
    took.push(performance.now() - from);
  }
  return took;
};

/** A loopback address that nobody else uses. */
const newAddress = (): string => `127.200.${(addresses += 1) >> 8}.${addresses & 0xff}`;

/** Logs in, and tries again where that is refused, until it succeeds or the time is over. */
const login = async (user: string, end: number, localAddress?: string): Promise<void> => {
  const connection = new HttpConnection(endpoint, { localAddress, timeoutMs: Math.max(1, end - performance.now()) });
  const body = { type: 'm.login.password', identifier: { type: 'm.id.user', user }, password: PASSWORD };
  const attempt = (): Promise<Answer | undefined> =>
    connection.send(requestText('POST', '/_matrix/client/v3/login', undefined, body)).catch(() => undefined);
  while (performance.now() < end && (await attempt())?.status !== 200) await sleep(RETRY_MS);
  connection.close();
};

const logins = (
  user: string | undefined,
  milliseconds: number,
  addressOf: () => string | undefined,
): Promise<number[]> => {
  const end = performance.now() + milliseconds;
  return user === undefined
    ? Promise.resolve([])
    : again(milliseconds, LOGIN_PAUSE_MS, () => login(user, end, addressOf()));
};

parentPort?.on('message', async ({ milliseconds, logsIn }: Watch) => {
  const message = { msgtype: 'm.text', body: SIXTY };
  const [sends, gaps, knownLogins, newLogins] = await Promise.all([
    again(milliseconds, 100, () => sending.send(requestText('PUT', sendPath(room, `v${(sent += 1)}`), token, message))),
    again(milliseconds, 50, () => probing.send(requestText('GET', '/livez'))),
    logins(logsIn, milliseconds, () => undefined),
    logins(logsIn, milliseconds, newAddress),
  ]);
  parentPort?.postMessage({ sends, gaps, knownLogins, newLogins } satisfies BystanderLatencies);
});
