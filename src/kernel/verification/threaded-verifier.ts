import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { decodeBase64 } from '#src/protocol/signing/base64.ts';
import { PUBLIC_KEY_BYTES, SIGNATURE_BYTES } from '#src/protocol/signing/ed25519.ts';
import type { Logger } from '#src/kernel/logger.ts';
import {
  inlineVerifier,
  type LargeTextCheck,
  type SignatureCheck,
  type SignatureVerifier,
} from './signature-verifier.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import type { LargeTextRequest, VerifierReply, VerifierRequest } from './verifier-messages.ts';

export interface ThreadedVerifierOptions {
  readonly timers: Timers;
  readonly logger: Logger;
  /** Default: one fewer than there are cores, but one. */
  readonly threads?: number;
  /** MiB that the heap of a thread may have. */
  readonly heapMiB?: number;
}

/** Batches up to this size are verified inline: a thread would take longer. */
const INLINE = 4;
/** Checks that are sent to a thread at once: 2 ms of work, so that several threads share what is more. */
const CHUNK = 64;
/** Milliseconds after which idle threads end: each holds 20 MiB. */
const IDLE_MS = 60_000;

interface Sent {
  /** Does the work on this thread, where theirs has failed. */
  readonly otherwise: () => Promise<boolean[]>;
  /** Indices of malformed signatures. */
  readonly malformed: ReadonlySet<number>;
  readonly resolve: (verdicts: boolean[] | Promise<boolean[]>) => void;
}

interface Thread {
  readonly worker: Worker;
  readonly sent: Map<number, Sent>;
}

/** Verifies on threads, which are started when they are first needed. The work of a thread that failed is done inline. */
export class ThreadedVerifier implements SignatureVerifier {
  readonly #timers: Timers;
  readonly #logger: Logger;
  readonly #most: number;
  readonly #threads = new Set<Thread>();
  readonly #heapMiB: number;
  #ids = 0;
  #idle: Timer | undefined;

  constructor({ timers, logger, threads, heapMiB = 64 }: ThreadedVerifierOptions) {
    this.#timers = timers;
    this.#logger = logger;
    this.#heapMiB = heapMiB;
    this.#most = threads ?? Math.max(1, availableParallelism() - 1);
  }

  /** How many threads there are at the moment. */
  get threads(): number {
    return this.#threads.size;
  }

  async verifyMany(checks: readonly SignatureCheck[]): Promise<boolean[]> {
    if (checks.length <= INLINE) return inlineVerifier.verifyMany(checks);
    const chunks: Promise<boolean[]>[] = [];
    for (let from = 0; from < checks.length; from += CHUNK) chunks.push(this.#send(checks.slice(from, from + CHUNK)));
    return (await Promise.all(chunks)).flat();
  }

  /** Ends the threads. What they were asked is answered inline. */
  async close(): Promise<void> {
    this.#idle?.cancel();
    await Promise.all([...this.#threads].map(({ worker }) => worker.terminate()));
  }

  /**
   * Whether each of the signatures of a text with large JSON in it is valid: parsing and writing it takes as long as many requests, and is not
   * done on this thread. None is where a thread failed. Never rejects.
   */
  verifyLarge({ after, before, json, signatures: checks }: LargeTextCheck): Promise<boolean[]> {
    const bytes = new Uint8Array(json);
    return this.#post(
      checks,
      (head) => ({ ...head, before, json: bytes, after }),
      [bytes.buffer],
      () => Promise.resolve(checks.map(() => false)),
    );
  }

  #send(checks: readonly SignatureCheck[]): Promise<boolean[]> {
    const texts = checks.map(({ text }) => text);
    return this.#post(
      checks,
      (head) => ({ ...head, texts }),
      [],
      () => inlineVerifier.verifyMany(checks),
    );
  }

  #post(
    checks: LargeTextCheck['signatures'],
    requestOf: (head: Pick<VerifierRequest, 'id' | 'signatures' | 'keys'>) => VerifierRequest | LargeTextRequest,
    given: readonly ArrayBuffer[],
    otherwise: Sent['otherwise'],
  ): Promise<boolean[]> {
    const id = (this.#ids += 1);
    const thread = this.#leastBusy();
    const signatures = new Uint8Array(checks.length * SIGNATURE_BYTES);
    const keys = new Uint8Array(checks.length * PUBLIC_KEY_BYTES);
    const malformed = new Set<number>();
    for (const [index, { signature, verifyKey }] of checks.entries()) {
      const bytes = decodeBase64(signature);
      if (bytes?.byteLength === SIGNATURE_BYTES) signatures.set(bytes, index * SIGNATURE_BYTES);
      else malformed.add(index);
      keys.set(verifyKey.bytes, index * PUBLIC_KEY_BYTES);
    }
    return new Promise((resolve) => {
      thread.sent.set(id, { otherwise, malformed, resolve });
      thread.worker.postMessage(requestOf({ id, signatures, keys }), [signatures.buffer, keys.buffer, ...given]);
    });
  }

  #leastBusy(): Thread {
    this.#idle?.cancel();
    this.#idle = this.#timers.after(IDLE_MS, () => void this.close());
    const [best] = [...this.#threads].sort((a, b) => a.sent.size - b.sent.size);
    return best !== undefined && (best.sent.size === 0 || this.#threads.size >= this.#most) ? best : this.#start();
  }

  #start(): Thread {
    const worker = new Worker(new URL('verifier-thread.ts', import.meta.url), {
      name: 'verifier',
      resourceLimits: { maxOldGenerationSizeMb: this.#heapMiB, maxYoungGenerationSizeMb: 2 },
    });
    const thread: Thread = { worker, sent: new Map() };
    this.#threads.add(thread);
    worker.unref();
    worker.on('message', ({ id, verdicts }: VerifierReply) => {
      const sent = thread.sent.get(id);
      thread.sent.delete(id);
      sent?.resolve(Array.from(verdicts, (verdict, index) => verdict === 1 && !sent.malformed.has(index)));
    });
    worker.on('error', (err) => this.#logger.error('a thread that verifies signatures failed', { err }));
    worker.on('exit', () => {
      this.#threads.delete(thread);
      for (const { otherwise, resolve } of thread.sent.values()) resolve(otherwise());
    });
    return thread;
  }
}
