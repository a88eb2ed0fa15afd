import { pino, type Logger as Pino } from 'pino';
import type { LogFields, Logger } from '#src/kernel/logger.ts';
import { systemTimers, type Timer } from '#src/kernel/timers.ts';

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** `null`: pretty on a terminal, JSON otherwise. */
  readonly format: 'pretty' | 'json' | null;
}

/** Bytes and milliseconds for which lines are gathered at most. */
const GATHER_BYTES = 8_192;
const GATHER_MS = 100;

type Destination = ReturnType<typeof pino.destination>;

/**
 * Gathers lines for a moment and writes them together. Without lines it does nothing. They are gathered here, since
 * the destination puts each of them behind those before and measures the whole anew.
 */
class Gathering {
  readonly #destination: Destination = pino.destination({ fd: 1, sync: false, minLength: GATHER_BYTES });
  #lines: string[] = [];
  #length = 0;
  #timer: Timer | undefined;

  constructor() {
    process.once('exit', () => this.flushNow());
  }

  /** Called for every line. */
  write(line: string): void {
    this.#lines.push(line);
    this.#length += line.length;
    if (this.#length >= GATHER_BYTES) this.#handOver();
    if (this.#timer !== undefined) return;
    this.#timer = systemTimers.after(GATHER_MS, () => {
      this.#timer = undefined;
      this.#handOver();
      // Lines that cannot be written are kept, and written with the next ones.
      this.#destination.flush(() => undefined);
    });
  }

  flushNow(): void {
    this.#handOver();
    try {
      this.#destination.flushSync();
    } catch {
      // Standard output is closed, or not open yet: this cannot be logged.
    }
  }

  #handOver(): void {
    if (this.#lines.length === 0) return;
    this.#destination.write(this.#lines.join(''));
    this.#lines = [];
    this.#length = 0;
  }
}

class PinoLogger implements Logger {
  readonly #pino: Pino;
  readonly #gathering: Gathering | undefined;

  /** @param gathering where the lines go, unless they are written one by one */
  constructor(instance: Pino, gathering: Gathering | undefined) {
    this.#pino = instance;
    this.#gathering = gathering;
  }

  debug(message: string, fields: LogFields = {}): void {
    if (!this.#pino.isLevelEnabled('debug')) return;
    this.#pino.debug(fields, message);
  }

  info(message: string, fields: LogFields = {}): void {
    this.#pino.info(fields, message);
  }

  warn(message: string, fields: LogFields = {}): void {
    this.#pino.warn(fields, message);
  }

  error(message: string, fields: LogFields = {}): void {
    this.#pino.error(fields, message);
    this.#gathering?.flushNow();
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.#pino.child(fields), this.#gathering);
  }
}

/**
 * The logger of the whole server: a line of JSON each (`time`, `level`, `msg` and fields), or something for human eyes.
 * JSON lines are gathered for a moment and written together, for there is one for each request; errors are written at once, and so is
 * everything when the process ends, whichever way but SIGKILL.
 */
export async function createLogger(
  options: LoggerOptions,
  stdout: NodeJS.WriteStream = process.stdout,
): Promise<Logger> {
  const isPretty = (options.format ?? (stdout.isTTY ? 'pretty' : 'json')) === 'pretty';
  const gathering = isPretty ? undefined : new Gathering();
  const destination =
    gathering === undefined
      ? (await import('pino-pretty')).default({
          colorize: stdout.isTTY,
          ignore: 'pid,hostname',
          translateTime: 'SYS:HH:MM:ss.l',
          sync: true,
          destination: 1,
        })
      : gathering;
  return new PinoLogger(
    pino(
      {
        level: options.level,
        base: null,
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
      },
      destination,
    ),
    gathering,
  );
}
