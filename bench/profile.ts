import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WebSocket } from 'ws';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly hitCount?: number;
}
interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const SAMPLING_MICROSECONDS = 500;

/** Runs `phase` with the processor profiler of the server behind the inspector's `port`; writes the profile and a table beside it. */
export async function profileDuring<T>(port: number, file: string, phase: () => Promise<T>): Promise<T> {
  const [target] = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
    webSocketDebuggerUrl: string;
  }[];
  if (target === undefined) throw new Error('the inspector lists no target');
  const socket = new WebSocket(target.webSocketDebuggerUrl, { perMessageDeflate: false, maxPayload: 1024 ** 3 });
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
  const waiting = new Map<number, (result: unknown) => void>();
  socket.on('message', (data: Buffer) => {
    const answer = JSON.parse(data.toString()) as { id?: number; result?: unknown };
    if (answer.id !== undefined) waiting.get(answer.id)?.(answer.result);
  });
  let ids = 0;
  const call = (method: string, params: object = {}): Promise<unknown> =>
    new Promise((resolve) => {
      ids += 1;
      waiting.set(ids, resolve);
      socket.send(JSON.stringify({ id: ids, method, params }));
    });
  try {
    await call('Profiler.enable');
    await call('Profiler.setSamplingInterval', { interval: SAMPLING_MICROSECONDS });
    await call('Profiler.start');
    const result = await phase();
    const { profile } = (await call('Profiler.stop')) as { profile: Profile };
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, JSON.stringify(profile));
    await writeFile(file.replace(/\.cpuprofile$/, '.txt'), selfTimes(profile, 40));
    return result;
  } finally {
    socket.close();
  }
}

/** The functions in which the most time was spent, callees not included. */
export function selfTimes(profile: Profile, lines: number): string {
  const names = new Map<number, string>();
  for (const { id, callFrame } of profile.nodes) {
    const place =
      callFrame.url === ''
        ? ''
        : ` ${callFrame.url.replace(/^.*\/(node_modules|src)\//, '$1/')}:${callFrame.lineNumber + 1}`;
    names.set(id, `${callFrame.functionName || '(anonymous)'}${place}`);
  }
  const spent = new Map<string, number>();
  let total = 0;
  profile.samples.forEach((id, index) => {
    const name = names.get(id) ?? '?';
    const delta = profile.timeDeltas[index] ?? 0;
    spent.set(name, (spent.get(name) ?? 0) + delta);
    total += delta;
  });
  const busy = total - (spent.get('(idle)') ?? 0);
  const sorted = [...spent].filter(([name]) => name !== '(idle)').sort((a, b) => b[1] - a[1]);
  const rows = sorted
    .slice(0, lines)
    .map(
      ([name, us]) =>
        `${((100 * us) / busy).toFixed(1).padStart(5)} %  ${(us / 1000).toFixed(0).padStart(6)} ms  ${name}`,
    );
  return `busy ${(busy / 1000).toFixed(0)} ms of ${(total / 1000).toFixed(0)} ms\n${rows.join('\n')}\n`;
}
