import { pino, type Logger as Pino } from 'pino';
import type { LogFields, Logger } from '#src/kernel/logger.ts';

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** `null`: pretty on a terminal, JSON otherwise. */
  readonly format: 'pretty' | 'json' | null;
}

class PinoLogger implements Logger {
  readonly #pino: Pino;
  readonly #flushNow: () => void;

  constructor(instance: Pino, flushNow: () => void) {
    this.#pino = instance;
    this.#flushNow = flushNow;
  }

  debug(message: string, fields: LogFields = {}): void {
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
    this.#flushNow();
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.#pino.child(fields), this.#flushNow);
  }
}

/** Bytes that are gathered at most, and milliseconds for which. */
const GATHER_BYTES = 8_192;
const GATHER_MS = 100;

type Destination = ReturnType<typeof pino.destination>;

const gathering = (): Destination => {
  const destination = pino.destination({ fd: 1, sync: false, minLength: GATHER_BYTES, periodicFlush: GATHER_MS });
  process.once('exit', () => flush(destination));
  return destination;
};

const flush = (destination: Destination): void => {
  try {
    destination.flushSync();
  } catch {
    // Standard output is closed, or not open yet: there is nowhere to say so.
  }
};

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
  const destination = isPretty
    ? (await import('pino-pretty')).default({
        colorize: stdout.isTTY,
        ignore: 'pid,hostname',
        translateTime: 'SYS:HH:MM:ss.l',
        sync: true,
        destination: 1,
      })
    : gathering();
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
    () => {
      if (!isPretty) flush(destination as Destination);
    },
  );
}
