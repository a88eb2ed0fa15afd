import { readFileSync } from 'node:fs';

/** Files that are open beside connections of clients: the program's own, logs, archives, requests of our own. */
const SET_ASIDE = 256;
/** Where the system does not say how many files a process may open: what most systems allow at the least. */
const CAUTIOUS = 1_024;

/** How many files this process may have open at once. */
export function openFileLimit(): number {
  try {
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    return soft === undefined || soft === 'unlimited' ? Infinity : Number(soft);
  } catch {
    return reportedLimit();
  }
}

/** Without /proc: what the runtime reports, which takes it some milliseconds. */
function reportedLimit(): number {
  const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { soft?: number | string } } };
  const soft = userLimits?.open_files?.soft;
  return soft === 'unlimited' ? Infinity : typeof soft === 'number' ? soft : CAUTIOUS;
}

/**
 * How many connections clients may have, so that the server never runs out of files for anything else.
 *
 * @param wanted `http.max_connections`
 * @param files what the process may have open
 * @param databaseConnections at most
 */
export function connectionLimit(wanted: number, files: number, databaseConnections: number): number {
  const room = files - Math.max(SET_ASIDE, Math.ceil(files / 20)) - databaseConnections;
  return Math.max(16, Math.min(wanted, room));
}
