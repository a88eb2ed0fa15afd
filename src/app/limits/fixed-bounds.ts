import { DAY_MS, HOUR_MS, MINUTE_MS } from '#src/kernel/dates.ts';

/** A bound that no key of the configuration changes. Its numbers are those of the code. */
export interface FixedBound {
  readonly what: string;
  readonly most: string | number;
  /** What is answered or done where there would be more. */
  readonly beyond: string;
  /** The metric that shows it; without one, the status of the requests does. */
  readonly metric?: string;
}

/** The bounds of one part of the server. */
export interface FixedBounds {
  readonly title: string;
  /** Why they are there, in a sentence. */
  readonly why: string;
  readonly rows: readonly FixedBound[];
}

/** A number in the largest unit of which it is a whole one. */
const inUnits = (
  value: number,
  units: readonly (readonly [size: number, name: string])[],
  smallest: string,
): string => {
  const [size, name] = units.find(([one]) => value >= one && value % one === 0) ?? [1, smallest];
  return `${value / size} ${name}`;
};

/** A number of bytes for people: `64 MiB`. */
export const inBytes = (bytes: number): string =>
  inUnits(
    bytes,
    [
      [1024 ** 3, 'GiB'],
      [1024 ** 2, 'MiB'],
      [1024, 'KiB'],
    ],
    'bytes',
  );

/** Milliseconds for people: `30 s`. */
export const inTime = (ms: number): string =>
  inUnits(
    ms,
    [
      [DAY_MS, 'd'],
      [HOUR_MS, 'h'],
      [MINUTE_MS, 'min'],
      [1_000, 's'],
    ],
    'ms',
  );
