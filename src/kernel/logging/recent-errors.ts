import type { Clock } from '#src/kernel/clock.ts';
import type { LogFields, Logger } from '#src/kernel/logger.ts';
import { RecentEntries, type RecentPage } from '#src/kernel/caches/recent-entries.ts';
import { Tally } from '#src/kernel/tally.ts';
import { isSecretName, withoutSecrets } from './without-secrets.ts';

/** Characters of a text, of a stack, and of one that is looked through at all; members of an object, and causes of an error. */
const MAX_TEXT_LENGTH = 1_000;
const MAX_STACK_LENGTH = 6_000;
const MAX_READ_LENGTH = 10_000;
const MAX_MEMBERS = 50;
const DEEPEST = 3;
/** Newest entries that are compared to merge duplicates. */
const LOOKED_THROUGH = 32;

/** An error as it is shown. */
export interface ShownError {
  readonly name: string;
  readonly message: string;
  /** Of a system call, or of the database. */
  readonly code?: string;
  readonly stack?: string;
  readonly cause?: ShownError;
}

/** A line of the log at level warn or error, or several of the same that came shortly after each other. */
export interface RecentError {
  /** When it came first and last, in milliseconds since the epoch, and how often. The other members are the last one's. */
  readonly ts: number;
  readonly lastTs: number;
  readonly count: number;
  readonly level: 'warn' | 'error';
  readonly message: string;
  readonly error?: ShownError;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Keeps the newest warnings and errors of this process in memory, without secrets. */
export class RecentErrors {
  readonly #clock: Pick<Clock, 'now'>;
  readonly #entries: RecentEntries<RecentError>;
  /** Lines since the process began. */
  readonly tally = new Tally('warn', 'error');

  constructor(options: { readonly clock: Pick<Clock, 'now'>; readonly maxBytes: number }) {
    this.#clock = options.clock;
    this.#entries = new RecentEntries(options.maxBytes);
  }

  get bytes(): number {
    return this.#entries.bytes;
  }

  /** How many lines there were since the process began. */
  get counts(): { readonly warn: number; readonly error: number } {
    return { warn: this.tally.of('warn'), error: this.tally.of('error') };
  }

  note(level: RecentError['level'], line: string, { err, ...rest }: LogFields): void {
    this.tally.add(level);
    const now = this.#clock.now();
    const message = shown(line, MAX_TEXT_LENGTH);
    const error = err === undefined ? undefined : shownError(err);
    const fields = shownMembers(rest);
    const before = this.#entries.take(
      (one) => one.level === level && one.message === message && one.error?.stack === error?.stack,
      LOOKED_THROUGH,
    );
    const entry = { ts: before?.ts ?? now, lastTs: now, count: (before?.count ?? 0) + 1, level, message, fields };
    this.#entries.add(error === undefined ? entry : { ...entry, error });
  }

  /** The newest first, those before a number, warnings only where they are wanted. */
  list(limit: number, before: number | undefined, withWarnings: boolean): RecentPage<RecentError> {
    return this.#entries.list(limit, before, ({ level }) => withWarnings || level === 'error');
  }
}

/** Passes lines on to another logger, and keeps warnings and errors in memory. */
export class RememberingLogger implements Logger {
  readonly #logger: Logger;
  readonly #fields: LogFields;
  readonly recent: RecentErrors;

  constructor(logger: Logger, recent: RecentErrors, fields: LogFields = {}) {
    this.#logger = logger;
    this.recent = recent;
    this.#fields = fields;
  }

  debug(message: string, fields?: LogFields): void {
    this.#logger.debug(message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#logger.info(message, fields);
  }

  warn(message: string, fields: LogFields = {}): void {
    this.#logger.warn(message, fields);
    this.recent.note('warn', message, { ...this.#fields, ...fields });
  }

  error(message: string, fields: LogFields = {}): void {
    this.#logger.error(message, fields);
    this.recent.note('error', message, { ...this.#fields, ...fields });
  }

  child(fields: LogFields): Logger {
    return new RememberingLogger(this.#logger.child(fields), this.recent, { ...this.#fields, ...fields });
  }
}

const shown = (text: string, longest: number): string => {
  const clean = withoutSecrets(text.slice(0, MAX_READ_LENGTH)).toWellFormed();
  return clean.length > longest ? `${clean.slice(0, longest)}…` : clean;
};

const shownError = (error: unknown, depth = 0): ShownError => {
  if (!(error instanceof Error)) return { name: typeof error, message: shown(String(error), MAX_TEXT_LENGTH) };
  const { code } = error as { code?: unknown };
  return {
    name: shown(error.name, MAX_TEXT_LENGTH),
    message: shown(error.message, MAX_TEXT_LENGTH),
    ...(typeof code === 'string' ? { code: shown(code, MAX_TEXT_LENGTH) } : {}),
    ...(error.stack === undefined ? {} : { stack: shown(error.stack, MAX_STACK_LENGTH) }),
    ...(error.cause === undefined || depth >= DEEPEST ? {} : { cause: shownError(error.cause, depth + 1) }),
  };
};

const shownMembers = (members: object, depth = 0): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(members)
      .slice(0, MAX_MEMBERS)
      .flatMap(([name, value]) =>
        value === undefined || typeof value === 'function'
          ? []
          : [[name, isSecretName(name) ? '…' : shownValue(value, depth)]],
      ),
  );

const shownValue = (value: unknown, depth: number): unknown => {
  if (typeof value === 'string') return shown(value, MAX_TEXT_LENGTH);
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  if (typeof value !== 'object') return typeof value === 'bigint' ? value.toString() : typeof value;
  if (value instanceof Error) return shownError(value, depth);
  if (depth >= DEEPEST) return '…';
  if (Array.isArray(value)) return value.slice(0, MAX_MEMBERS).map((one) => shownValue(one, depth + 1));
  return shownMembers(value, depth + 1);
};
