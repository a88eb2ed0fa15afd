import { pino, type Logger as Pino } from 'pino';
import pretty from 'pino-pretty';
import type { LogFields, Logger } from '#src/kernel/logger.ts';

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** `null`: pretty on a terminal, JSON otherwise. */
  readonly format: 'pretty' | 'json' | null;
}

class PinoLogger implements Logger {
  readonly #pino: Pino;

  constructor(instance: Pino) {
    this.#pino = instance;
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
  }

  child(fields: LogFields): Logger {
    return new PinoLogger(this.#pino.child(fields));
  }
}

/**
 * The logger of the whole server: a line of JSON each (`time`, `level`, `msg` and fields), or something for human eyes.
 * Written synchronously: lines are few (one per request), and none is lost when the process ends.
 */
export function createLogger(options: LoggerOptions, stdout: NodeJS.WriteStream = process.stdout): Logger {
  const isPretty = (options.format ?? (stdout.isTTY ? 'pretty' : 'json')) === 'pretty';
  const destination = isPretty
    ? pretty({
        colorize: stdout.isTTY,
        ignore: 'pid,hostname',
        translateTime: 'SYS:HH:MM:ss.l',
        sync: true,
        destination: 1,
      })
    : pino.destination({ fd: 1, sync: true });
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
  );
}
