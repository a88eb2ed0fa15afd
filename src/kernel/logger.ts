/** What a log line may carry beside its message. Never a token, a password or a message body. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Structured logging as a port. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  /** An `Error` under the key `err` is written with its stack. */
  error(message: string, fields?: LogFields): void;
  /** A logger that adds `fields` to every line. */
  child(fields: LogFields): Logger;
}

/** Swallows everything: for tests of pure parts. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};
