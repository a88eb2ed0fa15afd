import { mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WebSocket } from 'ws';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
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
    await writeFile(file.replace(/\.cpuprofile$/, '.txt'), timeTable(profile, 40));
    return result;
  } finally {
    socket.close();
  }
}

/** Time by function (self), by package, and by functions of this project (total). */
export function timeTable(profile: Profile, lines: number): string {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const parents = new Map<number, number>();
  for (const { id, children } of profile.nodes) for (const child of children ?? []) parents.set(child, id);
  const self = new Map<number, number>();
  profile.samples.forEach((id, index) => self.set(id, (self.get(id) ?? 0) + (profile.timeDeltas[index] ?? 0)));

  const nameOf = (id: number): string => {
    const { callFrame } = nodes.get(id)!;
    const name = callFrame.functionName || '(anonymous)';
    if (callFrame.url !== '') return `${name} ${shortUrl(callFrame.url)}:${callFrame.lineNumber + 1}`;
    // A native function is reported with its caller.
    const parent = parents.get(id);
    const caller = parent === undefined ? undefined : nodes.get(parent)?.callFrame;
    return caller === undefined || caller.functionName === '(root)'
      ? name
      : `${name} < ${caller.functionName} ${shortUrl(caller.url)}`;
  };
  const packageOf = (id: number): string => {
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const { url, functionName } = nodes.get(at)!.callFrame;
      if (/^\((program|garbage collector|idle)\)$/.test(functionName)) return functionName;
      if (url !== '')
        return (
          /^(node_modules\/(?:@[^/]+\/)?[^/]+|src\/[^/]+\/[^/]+|node:[^:/]+(?:\/[^:/]+)?)/.exec(shortUrl(url))?.[1] ??
          url
        );
    }
    return '(root)';
  };
  let total = 0;
  let idle = 0;
  const byFunction = new Map<string, number>();
  const byPackage = new Map<string, number>();
  const withCallees = new Map<string, number>();
  const add = (to: Map<string, number>, name: string, time: number): void =>
    void to.set(name, (to.get(name) ?? 0) + time);
  for (const [id, time] of self) {
    total += time;
    if (nodes.get(id)?.callFrame.functionName === '(idle)') {
      idle += time;
      continue;
    }
    add(byFunction, nameOf(id), time);
    add(byPackage, packageOf(id), time);
    const seen = new Set<string>();
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const name = nameOf(at);
      if (!name.includes(' src/') || name.includes(' < ') || seen.has(name)) continue;
      seen.add(name);
      add(withCallees, name, time);
    }
  }
  const busy = total - idle;
  const table = (title: string, times: Map<string, number>): string => {
    const rows = [...times].sort((a, b) => b[1] - a[1]).slice(0, lines);
    const text = rows.map(
      ([name, us]) =>
        `${((100 * us) / busy).toFixed(1).padStart(5)} %  ${(us / 1000).toFixed(0).padStart(6)} ms  ${name}`,
    );
    return `${title}\n${text.join('\n')}\n`;
  };
  return [
    `busy ${(busy / 1000).toFixed(0)} ms of ${(total / 1000).toFixed(0)} ms\n`,
    table('by function, without its callees', byFunction),
    table('by package or folder', byPackage),
    table('our functions with their callees', withCallees),
  ].join('\n');
}

function shortUrl(url: string): string {
  return url.replace(/^.*\/((?:node_modules|src)\/)/, '$1');
}
