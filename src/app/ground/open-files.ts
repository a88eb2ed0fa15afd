import { readFileSync } from 'node:fs';

/** Files that are open beside connections of clients: the program's own, logs, archives, requests of our own. */
const SET_ASIDE = 256;
/** The assumed limit where the system does not tell how many files a process may open: most systems allow at least as many. */
const CAUTIOUS = 1_024;

/** How many files this process may open at once. */
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
 * @param files how many files the process may open
 * @param databaseConnections at most
 */
export function connectionLimit(wanted: number, files: number, databaseConnections: number): number {
  const room = files - Math.max(SET_ASIDE, Math.ceil(files / 20)) - databaseConnections;
  return Math.max(16, Math.min(wanted, room));
}
