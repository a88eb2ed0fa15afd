import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';

/** States to resolve: events, and per case the event ids of each state. */
export interface Question {
  readonly version: string;
  readonly room_id: string;
  readonly events: readonly Pdu[];
  readonly cases: readonly (readonly (readonly string[])[])[];
}

export interface Answer {
  readonly event_ids: readonly string[];
  /** Per case the event ids of the resolved state, sorted. */
  readonly resolved: readonly (readonly string[])[];
}

/** Synapse's resolver as a child process that is asked one room at a time. */
export class SynapseResolver {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(python: string) {
    this.#child = spawn(python, [join(import.meta.dirname, 'synapse_resolver.py')]);
    this.#child.stderr.on('data', (data: Buffer) => (this.#errors += data.toString()));
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** @throws Error with Python's traceback if Synapse cannot resolve this */
  async ask(question: Question): Promise<Answer> {
    this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`the resolver ended: ${this.#errors}`);
    const reply = JSON.parse(value) as Answer | { readonly error: string };
    if ('error' in reply) throw new Error(reply.error);
    return reply;
  }

  close(): void {
    this.#child.kill();
  }
}

/** The PDUs of events, in their order. */
export function pdusOf(events: Iterable<IdentifiedPdu>): Pdu[] {
  return [...events].map(({ pdu }) => pdu);
}
