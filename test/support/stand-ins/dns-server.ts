import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

/** A record of an answer. */
export type DnsRecord =
  | { readonly type: 'A' | 'AAAA'; readonly name: string; readonly address: string }
  | { readonly type: 'CNAME'; readonly name: string; readonly target: string }
  | {
      readonly type: 'SRV';
      readonly name: string;
      readonly target: string;
      readonly port: number;
      readonly priority: number;
      readonly weight: number;
    };

/** The answer to a question: records, an error, bytes that are no valid answer, or none. */
export type DnsAnswer = readonly DnsRecord[] | 'NXDOMAIN' | 'SERVFAIL' | 'garbage' | 'silence';

const CODES = { NXDOMAIN: 3, SERVFAIL: 2 } as const;
const TYPES = { A: 1, AAAA: 28, CNAME: 5, SRV: 33 } as const;
const IN = 1;
const HEADER_BYTES = 12;
/** A response, recursion desired and available. */
const RESPONSE = 0x81_80;
const TTL_SECONDS = 300;

/** A DNS server on loopback with answers set by the test. RFC 1035, RFC 2782. */
export class DnsServer {
  readonly #socket: Socket;
  readonly #answers = new Map<string, DnsAnswer>();
  readonly #silences = new Set<string>();
  /** The names of all questions. */
  readonly asked: string[] = [];
  /** The answer to names without one of their own. */
  otherwise: DnsAnswer = 'NXDOMAIN';

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (query, { address, port }) => {
      const { end, name } = readName(query, HEADER_BYTES);
      this.asked.push(name);
      const wanted = query.readUInt16BE(end);
      const answer = this.#answers.get(name) ?? this.otherwise;
      const isSilent = answer === 'silence' || this.#silences.has(`${name} ${wanted}`);
      if (isSilent) return;
      // The name, and its type and class.
      const question = query.subarray(HEADER_BYTES, end + 4);
      socket.send(
        answer === 'garbage' ? Buffer.from([...query.subarray(0, 2), 0xff]) : written(query, question, answer, wanted),
        port,
        address,
      );
    });
  }

  static async start(): Promise<DnsServer> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new DnsServer(socket);
  }

  /** Address and port, as resolvers are configured with it. */
  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  says(name: string, answer: DnsAnswer): void {
    this.#answers.set(name, answer);
  }

  /** Does not answer questions for one kind of records. */
  isSilentOn(name: string, type: keyof typeof TYPES): void {
    this.#silences.add(`${name} ${TYPES[type]}`);
  }

  async stop(): Promise<void> {
    this.#socket.close();
    await once(this.#socket, 'close');
  }
}

const readName = (message: Buffer, start: number): { readonly name: string; readonly end: number } => {
  const labels: string[] = [];
  let at = start;
  for (let length = message.readUInt8(at); length > 0; length = message.readUInt8(at)) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), end: at + 1 };
};

const nameBytes = (name: string): Buffer => {
  const labels = name.split('.').filter((label) => label !== '');
  return Buffer.concat([
    ...labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)])),
    Buffer.from([0]),
  ]);
};

const numbers = (...values: readonly number[]): Buffer => {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, 2 * index);
  return bytes;
};

const addressBytes = (address: string): Buffer => {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [before = '', after = ''] = address.split('::').map((part) => part);
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map((group) => parseInt(group, 16)));
  const [first, last] = [groups(before), groups(after)];
  return numbers(...first, ...Array.from({ length: 8 - first.length - last.length }, () => 0), ...last);
};

const dataOf = (record: DnsRecord): Buffer => {
  if (record.type === 'CNAME') return nameBytes(record.target);
  if (record.type === 'SRV')
    return Buffer.concat([numbers(record.priority, record.weight, record.port), nameBytes(record.target)]);
  return addressBytes(record.address);
};

const recordBytes = (record: DnsRecord): Buffer => {
  const data = dataOf(record);
  return Buffer.concat([nameBytes(record.name), numbers(TYPES[record.type], IN, 0, TTL_SECONDS, data.length), data]);
};

const written = (
  query: Buffer,
  question: Buffer,
  answer: readonly DnsRecord[] | keyof typeof CODES,
  wanted: number,
): Buffer => {
  const isError = typeof answer === 'string';
  const told = isError ? [] : answer.filter(({ type }) => type === 'CNAME' || TYPES[type] === wanted);
  const records = told.map(recordBytes);
  const flags = RESPONSE | (isError ? CODES[answer] : 0);
  return Buffer.concat([query.subarray(0, 2), numbers(flags, 1, records.length, 0, 0), question, ...records]);
};
