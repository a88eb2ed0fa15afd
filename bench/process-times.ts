import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts processor time in hundredths of a second. */
const TICK_MS = 10;

interface Stat {
  readonly parent: number;
  readonly ownMs: number;
  /** Of children that ended. */
  readonly childrenMs: number;
}

function stat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in brackets may hold blanks and brackets.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const at = (index: number): number => Number(fields[index]);
    return { parent: at(1), ownMs: (at(11) + at(12)) * TICK_MS, childrenMs: (at(13) + at(14)) * TICK_MS };
  } catch {
    return undefined;
  }
}

/** User and system time of a process in milliseconds. Undefined where there is no /proc. */
export function processMs(pid: number): number | undefined {
  return stat(pid)?.ownMs;
}

/** The same of a process with all its children, those that ended included. */
export function familyMs(pid: number): number | undefined {
  const head = stat(pid);
  if (head === undefined) return undefined;
  let sum = head.ownMs + head.childrenMs;
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const child = stat(Number(name));
    if (child?.parent === pid) sum += child.ownMs;
  }
  return sum;
}

/** Resident memory in bytes. NaN where there is no /proc. */
export function residentBytes(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
  } catch {
    return Number.NaN;
  }
}

/** What a process with all its children holds alone or shares with others, each page counted once. NaN where that is not told. */
export function familyBytes(pid: number): number {
  try {
    let sum = proportionalBytes(pid);
    for (const name of readdirSync('/proc')) {
      if (/^\d+$/.test(name) && stat(Number(name))?.parent === pid) sum += proportionalBytes(Number(name));
    }
    return sum;
  } catch {
    return Number.NaN;
  }
}

function proportionalBytes(pid: number): number {
  return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024;
}

/** Busy and whole time of all cores since the machine started, in milliseconds. Undefined where there is no /proc. */
export function machineMs(): { readonly busy: number; readonly whole: number } | undefined {
  try {
    const line = readFileSync('/proc/stat', 'utf8').split('\n')[0] ?? '';
    // user nice system idle iowait irq softirq steal; what follows is part of user.
    const times = line.trim().split(/\s+/).slice(1, 9).map(Number);
    const whole = times.reduce((sum, ticks) => sum + ticks, 0);
    return { busy: (whole - (times[3] ?? 0) - (times[4] ?? 0)) * TICK_MS, whole: whole * TICK_MS };
  } catch {
    return undefined;
  }
}
