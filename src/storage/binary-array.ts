/** What an array for PostgreSQL can hold, and what an element of it is here. */
export interface ElementKinds {
  readonly smallint: number;
  readonly int: number;
  readonly bigint: number;
  readonly 'double precision': number;
  readonly boolean: boolean;
  readonly text: string;
  readonly uuid: string;
  readonly bytea: Buffer;
}

/** How elements of one type are written. */
interface Element<Value> {
  /** PostgreSQL's number of the type. */
  readonly oid: number;
  readonly length: (value: Value) => number;
  readonly write: (to: Buffer, at: number, value: Value) => void;
}

/** Lengths of the head (dimensions, whether there are nulls, type, elements, lower bound), and of an element's own length, in bytes. */
const HEAD = 20;
const LENGTH = 4;
const NULL = -1;
const TWO_TO_32 = 2 ** 32;

const ELEMENTS: { readonly [Type in keyof ElementKinds]: Element<ElementKinds[Type]> } = {
  smallint: { oid: 21, length: () => 2, write: (to, at, value) => to.writeInt16BE(value, at) },
  int: { oid: 23, length: () => 4, write: (to, at, value) => to.writeInt32BE(value, at) },
  bigint: {
    oid: 20,
    length: () => 8,
    write(to, at, value) {
      to.writeInt32BE(Math.floor(value / TWO_TO_32), at);
      to.writeUInt32BE(value >>> 0, at + 4);
    },
  },
  'double precision': { oid: 701, length: () => 8, write: (to, at, value) => to.writeDoubleBE(value, at) },
  boolean: { oid: 16, length: () => 1, write: (to, at, value) => to.writeUInt8(value ? 1 : 0, at) },
  text: { oid: 25, length: (value) => Buffer.byteLength(value), write: (to, at, value) => void to.write(value, at) },
  uuid: { oid: 2950, length: () => 16, write: (to, at, value) => void to.write(value.replaceAll('-', ''), at, 'hex') },
  bytea: { oid: 17, length: (value) => value.length, write: (to, at, value) => void value.copy(to, at) },
};

/**
 * An array as PostgreSQL itself writes it: nothing in it needs to be quoted here, or read as text there. Numbers are whole and fit their
 * type; a bigint is a safe integer.
 */
export const binaryArray = <Type extends keyof ElementKinds>(
  type: Type,
  values: readonly (ElementKinds[Type] | null)[],
): Buffer => {
  const { oid, length, write } = ELEMENTS[type] as Element<ElementKinds[Type]>;
  let size = HEAD + values.length * LENGTH;
  const lengths = values.map((value) => (value === null ? NULL : length(value)));
  for (const one of lengths) if (one !== NULL) size += one;
  const buffer = Buffer.allocUnsafe(size);
  buffer.writeInt32BE(1, 0);
  buffer.writeInt32BE(lengths.includes(NULL) ? 1 : 0, 4);
  buffer.writeInt32BE(oid, 8);
  buffer.writeInt32BE(values.length, 12);
  buffer.writeInt32BE(1, 16);
  let at = HEAD;
  // By index: each value of each column of each event comes through here, and an iterator makes two objects of each.
  for (let index = 0; index < values.length; index += 1) {
    const bytes = lengths[index] as number;
    buffer.writeInt32BE(bytes, at);
    at += LENGTH;
    if (bytes === NULL) continue;
    write(buffer, at, values[index] as ElementKinds[Type]);
    at += bytes;
  }
  return buffer;
};
