import { HttpConnection, requestText, type Endpoint } from './http.ts';
import { sendPath, SIXTY, UnexpectedAnswer, type Person } from './people.ts';

export interface Sending {
  /** Messages acknowledged. */
  readonly operations: number;
  readonly seconds: number;
  /** Milliseconds of each, from the write to the answer. */
  readonly latencies: number[];
}

export interface Sender {
  readonly person: Person;
  readonly room: string;
}

let run = 0;

/** All senders send 60-character messages, one after the other, each on its own connection, until the time is up. */
export async function sendFor(
  endpoint: Endpoint,
  senders: readonly Sender[],
  milliseconds: number,
  onSent: (total: number) => void = () => undefined,
): Promise<Sending> {
  const latencies: number[] = [];
  run += 1;
  const label = `r${run}`;
  const start = performance.now();
  const end = start + milliseconds;
  await Promise.all(
    senders.map(async ({ person, room }, index) => {
      const connection = new HttpConnection(endpoint);
      try {
        for (let i = 0; performance.now() < end; i += 1) {
          const path = sendPath(room, `${label}-${index}-${i}`);
          const request = requestText('PUT', path, person.token, { msgtype: 'm.text', body: SIXTY });
          const from = performance.now();
          const answer = await connection.send(request);
          latencies.push(performance.now() - from);
          if (answer.status !== 200) throw new UnexpectedAnswer('PUT send', answer);
          if (latencies.length % 500 === 0) onSent(latencies.length);
        }
      } finally {
        connection.close();
      }
    }),
  );
  return { operations: latencies.length, seconds: (performance.now() - start) / 1000, latencies };
}
