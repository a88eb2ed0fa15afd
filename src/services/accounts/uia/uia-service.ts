import { createHmac } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { networkOf } from '#src/kernel/network.ts';
import type { Random } from '#src/kernel/random.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { DUMMY_STAGE } from './flows.ts';
import { type AuthData, type Stage, StageFailed } from './stages.ts';
import type { UiaSession, UiaSessionStore } from './uia-session-store.ts';

/** Stages in the order in which they must be completed. */
export type Flow = readonly string[];

/** The body of a 401 that asks for (more) authentication. */
export interface ChallengeBody {
  readonly errcode?: string;
  readonly error?: string;
  readonly completed?: readonly string[];
  readonly flows: readonly { readonly stages: Flow }[];
  readonly params: Readonly<Record<string, unknown>>;
  readonly session: string;
}

/** "The homeserver requires additional authentication information": a 401 whose body has an errcode only when a stage failed. */
export class UiaChallenge extends MatrixError {
  readonly challenge: ChallengeBody;

  constructor(challenge: ChallengeBody) {
    super('M_UNAUTHORIZED', challenge.error ?? 'This request needs further authentication.');
    this.name = 'UiaChallenge';
    this.challenge = challenge;
  }

  override toBody(): Record<string, unknown> {
    return { ...this.challenge };
  }
}

export interface UiaRequest {
  /** The operationId. A session is good for one operation. */
  readonly operation: string;
  /** Target and parameters that must be the same in every request of a session. */
  readonly parameters?: readonly unknown[];
  readonly flows: readonly Flow[];
  /** The user who must authenticate; undefined where there is none yet. */
  readonly userId?: string | undefined;
  /**
   * The device that asks, where what it asks for may be granted on the strength of an authentication a short while ago. Never for changing
   * a password or ending an account.
   */
  readonly reuseFor?: string | undefined;
  readonly auth: AuthData | undefined;
  readonly ip: string;
}

/** A stage of a session, for the page on which it is completed. */
export interface StageView {
  readonly type: string;
  /** What the session is for, by its operationId. */
  readonly operation: string;
  readonly isCompleted: boolean;
  readonly params: Readonly<Record<string, unknown>>;
  /** The user who must authenticate; undefined where there is none yet. */
  readonly userId: string | undefined;
}

/** What was proved, and what was asked for in all the requests of a session. */
export interface Authorized<Params> {
  readonly proofs: Readonly<Record<string, string>>;
  readonly params: Params;
}

/** An operation whose parameters may be said in several requests of a session. */
export interface GatheredRequest<Params> extends UiaRequest {
  /**
   * Adds what this request asks for to what earlier ones of its session did.
   *
   * @throws MatrixError for what cannot be granted: the earlier parameters stay then
   */
  readonly gather: (earlier: Params | undefined) => Promise<Params>;
  /** Whether the request asks for what was done already: only then it gets the result of that. */
  readonly repeats: (done: Params) => boolean;
}

export interface UiaServiceDependencies {
  readonly store: UiaSessionStore;
  readonly stages: readonly Stage[];
  readonly random: Random;
  readonly clock: Clock;
  /** `sessions.uia_reuse_ms`: milliseconds after its authentication in which a device need not prove anything again. Default 0. */
  readonly reuseMs?: number;
}

const isComplete = (flows: readonly Flow[], { completed }: UiaSession): boolean =>
  flows.some((flow) => flow.every((type) => completed.includes(type)));

const DUMMY_FLOW: Flow = [DUMMY_STAGE];

const unknownSession = (): StageFailed =>
  new StageFailed('M_UNKNOWN', 'This authentication session is not known, or has expired: begin anew.');

const deviceKey = ({ userId, reuseFor }: UiaRequest): string | undefined =>
  userId === undefined || reuseFor === undefined ? undefined : `${userId} ${reuseFor}`;

/** User-interactive authentication. Client-Server API, "User-Interactive Authentication API". */
export class UiaService {
  readonly #store: UiaSessionStore;
  readonly #stages: ReadonlyMap<string, Stage>;
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #reuseMs: number;
  readonly #key: Buffer;
  readonly #turns = new SerialByKey<string>();
  /** When devices authenticated last, in monotonic milliseconds. */
  readonly #authenticated = new LRUCache<string, number>(atMost(10_000));

  constructor(deps: UiaServiceDependencies) {
    this.#store = deps.store;
    this.#stages = new Map(deps.stages.map((stage) => [stage.type, stage]));
    this.#random = deps.random;
    this.#key = deps.random.bytes(32);
    this.#clock = deps.clock;
    this.#reuseMs = deps.reuseMs ?? 0;
  }

  /**
   * Does what the request asks for, once all stages of one flow are complete, and once only: a request that is repeated because its
   * answer got lost gets the result of the first one, for as long as the session lives. What failed may be tried again.
   *
   * @throws UiaChallenge as long as there are stages to complete
   * @throws MatrixError M_FORBIDDEN when session and request do not belong together; what a stage throws; what `operation` throws
   */
  perform<T>(asked: UiaRequest, operation: (authorized: Authorized<undefined>) => Promise<T>): Promise<T> {
    return this.performGathered({ ...asked, gather: () => Promise.resolve(undefined), repeats: () => true }, operation);
  }

  /** As `perform`, where what is asked for may be said in several requests of the session: a later value takes the place of an earlier one. */
  async performGathered<Params, T>(
    asked: GatheredRequest<Params>,
    operation: (authorized: Authorized<Params>) => Promise<T>,
  ): Promise<T> {
    const id = asked.auth?.session;
    if (id === undefined) return this.#perform(asked, undefined, operation);
    // One after the other: of two requests that complete a session, the second finds the result of the first.
    return this.#turns.run(id, async () => {
      const session = await this.#store.get(id);
      if (session === undefined) throw await this.#begunAnew(asked);
      if (session.request !== this.#digestOf(asked) || session.userId !== asked.userId) {
        throw new MatrixError('M_FORBIDDEN', 'This authentication session was begun for a different request.');
      }
      if (session.outcome === undefined) return this.#perform(asked, session, operation);
      if (!asked.repeats(session.params as Params)) {
        throw new MatrixError(
          'M_FORBIDDEN',
          'What this authentication session was for has been done. Leave the session out to ask for something else.',
        );
      }
      return session.outcome.result as T;
    });
  }

  /**
   * A stage of a session, as its fallback page shows it; undefined where there is no such session, or stage of it. Client-Server API,
   * "Fallback".
   */
  async stageOf(id: string, type: string): Promise<StageView | undefined> {
    const session = await this.#store.get(id);
    const stage = this.#stages.get(type);
    if (session === undefined || stage === undefined || !session.flows.some((flow) => flow.includes(type)))
      return undefined;
    const { completed, operation, userId } = session;
    return { type, operation, isCompleted: completed.includes(type), params: stage.params?.() ?? {}, userId };
  }

  /**
   * Completes a stage of a session outside the request that the session is for: that one need only name the session afterwards.
   *
   * @throws StageFailed for what may be tried again; what the stage throws
   */
  attempt(id: string, auth: AuthData & { readonly type: string }, ip: string): Promise<void> {
    return this.#turns.run(id, async () => {
      const session = await this.#store.get(id);
      if (session === undefined) throw unknownSession();
      if (session.completed.includes(auth.type)) return;
      await this.#store.put(await this.#advance({ ...session, auth, ip }, session, auth.type, auth));
    });
  }

  async #perform<Params, T>(
    asked: GatheredRequest<Params>,
    known: UiaSession | undefined,
    operation: (authorized: Authorized<Params>) => Promise<T>,
  ): Promise<T> {
    const params = await asked.gather(known?.params as Params | undefined);
    const session = await this.#authorize(asked, params, known);
    // A session that the client was never told of cannot be named again.
    if (known !== undefined) await this.#store.put(session);
    const result = await operation({ proofs: session.proofs, params });
    if (known !== undefined) await this.#store.put({ ...session, outcome: { result } });
    return result;
  }

  /**
   * Leads the session on by what the request proves.
   *
   * @param known the session as it is kept; undefined for a new one
   * @throws UiaChallenge as long as there are stages to complete
   */
  async #authorize(asked: UiaRequest, params: unknown, known: UiaSession | undefined): Promise<UiaSession> {
    const { auth } = asked;
    const request = this.#isFresh(asked) ? { ...asked, flows: [...asked.flows, DUMMY_FLOW] } : asked;
    let session =
      known?.params === params && known !== undefined ? known : { ...(known ?? this.#newSession(asked)), params };
    const challenge = async (failed?: StageFailed): Promise<UiaChallenge> => {
      // A request that changes nothing does not lengthen the session's life.
      if (session !== known) await this.#store.put(session);
      return this.#challenge(request, session, failed);
    };
    if (auth === undefined) throw await challenge();
    if (auth.type !== undefined && !session.completed.includes(auth.type)) {
      try {
        session = await this.#advance(request, session, auth.type, auth);
        this.#remember(asked, session, auth.type);
      } catch (error) {
        if (error instanceof StageFailed) throw await challenge(error);
        throw error;
      }
    }
    if (!isComplete(request.flows, session)) throw await challenge();
    return session;
  }

  /** Notes that a device has just proved who it is. The dummy stage that this allows proves nothing, and does not lengthen the time. */
  #remember(asked: UiaRequest, session: UiaSession, type: string): void {
    const key = deviceKey(asked);
    const proved = asked.flows.some((flow) => flow.includes(type)) && isComplete(asked.flows, session);
    if (key !== undefined && proved && this.#reuseMs > 0) this.#authenticated.set(key, this.#clock.monotonic());
  }

  /**
   * "Homeservers may allow requests that don't require auth by offering a stage with only the m.login.dummy auth type, but they must still
   * give a 401 response to requests with no auth data."
   */
  #isFresh(request: UiaRequest): boolean {
    const key = deviceKey(request);
    const since = key === undefined ? undefined : this.#authenticated.get(key);
    return since !== undefined && this.#clock.monotonic() - since < this.#reuseMs;
  }

  /** The session that is named is none, or has expired: whatever was proved for it counts for nothing, and the client begins anew. */
  async #begunAnew<Params>(asked: GatheredRequest<Params>): Promise<UiaChallenge> {
    const session: UiaSession = { ...this.#newSession(asked), params: await asked.gather(undefined) };
    await this.#store.put(session);
    return this.#challenge(asked, session, unknownSession());
  }

  #newSession(asked: UiaRequest): UiaSession {
    return {
      id: this.#random.string(24),
      request: this.#digestOf(asked),
      userId: asked.userId,
      party: asked.userId ?? networkOf(asked.ip),
      operation: asked.operation,
      flows: asked.flows,
      completed: [],
      proofs: {},
    };
  }

  /** Parameters may be secrets (a new password): without the key, which never leaves the process, the digest tells nothing of them. */
  #digestOf({ operation, parameters = [] }: UiaRequest): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify([operation, parameters]))
      .digest('base64url');
  }

  async #advance(request: UiaRequest, session: UiaSession, type: string, auth: AuthData): Promise<UiaSession> {
    const stage = this.#stages.get(type);
    if (stage === undefined || !request.flows.some((flow) => flow.includes(type))) {
      throw new StageFailed('M_UNRECOGNIZED', 'This request cannot be authenticated in that way.');
    }
    // "the flow's stages must be completed in order. Failing to follow the flows in order must result in an HTTP 401 response"
    const inOrder = request.flows.some((flow) => {
      const place = flow.indexOf(type);
      return place >= 0 && flow.slice(0, place).every((earlier) => session.completed.includes(earlier));
    });
    if (!inOrder) throw new StageFailed('M_FORBIDDEN', 'Another stage has to be completed before this one.');
    const proof = await stage.attempt(auth, { operation: request.operation, userId: request.userId, ip: request.ip });
    return {
      ...session,
      completed: [...session.completed, type],
      proofs: proof === undefined ? session.proofs : { ...session.proofs, [type]: proof },
    };
  }

  #challenge(request: UiaRequest, session: UiaSession, failed?: StageFailed): UiaChallenge {
    const types = new Set(request.flows.flat());
    const params: Record<string, unknown> = {};
    for (const type of types) {
      const known = this.#stages.get(type)?.params?.();
      if (known !== undefined) params[type] = known;
    }
    return new UiaChallenge({
      ...(failed === undefined ? {} : { errcode: failed.errcode, error: failed.message }),
      ...(failed === undefined && session.completed.length === 0 ? {} : { completed: session.completed }),
      flows: request.flows.map((stages) => ({ stages })),
      params,
      session: session.id,
    });
  }
}
