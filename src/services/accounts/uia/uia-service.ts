import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
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
  /** Who must authenticate; undefined where that is nobody yet. */
  readonly userId?: string | undefined;
  /**
   * The device that asks, where what it asks for may be granted on the strength of an authentication a short while ago. Never for changing
   * a password or ending an account.
   */
  readonly reuseFor?: string | undefined;
  readonly auth: AuthData | undefined;
  readonly ip: string;
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

const DUMMY_FLOW: Flow = ['m.login.dummy'];

const deviceKey = ({ userId, reuseFor }: UiaRequest): string | undefined =>
  userId === undefined || reuseFor === undefined ? undefined : `${userId} ${reuseFor}`;

/** User-interactive authentication. Client-Server API, "User-Interactive Authentication API". */
export class UiaService {
  readonly #store: UiaSessionStore;
  readonly #stages: ReadonlyMap<string, Stage>;
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #reuseMs: number;
  /** When devices authenticated last, in monotonic milliseconds. */
  readonly #authenticated = new LRUCache<string, number>(atMost(10_000));

  constructor(deps: UiaServiceDependencies) {
    this.#store = deps.store;
    this.#stages = new Map(deps.stages.map((stage) => [stage.type, stage]));
    this.#random = deps.random;
    this.#clock = deps.clock;
    this.#reuseMs = deps.reuseMs ?? 0;
  }

  /**
   * Lets the request pass once all stages of one flow are complete. A completed session stays good for the very same request, so that it
   * can be repeated when the answer got lost, until it expires or `end` is called.
   *
   * @throws UiaChallenge as long as there are stages to complete
   * @throws MatrixError M_FORBIDDEN when session and request do not belong together; what a stage throws
   */
  async authorize(asked: UiaRequest): Promise<UiaSession> {
    const { auth } = asked;
    const request = this.#isFresh(asked) ? { ...asked, flows: [...asked.flows, DUMMY_FLOW] } : asked;
    let session = await this.#open(request);
    if (auth === undefined) throw this.#challenge(request, session);
    if (auth.type !== undefined && !session.completed.includes(auth.type)) {
      try {
        session = await this.#advance(request, session, auth.type, auth);
        this.#remember(asked, session, auth.type);
      } catch (error) {
        if (error instanceof StageFailed) throw this.#challenge(request, session, error);
        throw error;
      }
    }
    if (!isComplete(request.flows, session)) throw this.#challenge(request, session);
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

  /** Forgets a session: what it was for must not happen twice. */
  end(session: UiaSession): Promise<void> {
    return this.#store.delete(session.id);
  }

  /** The session named in the request, or a new one: an expired one makes the client begin anew. */
  async #open(request: UiaRequest): Promise<UiaSession> {
    const digest = createHash('sha256')
      .update(JSON.stringify([request.operation, request.parameters ?? []]))
      .digest('base64url');
    const id = request.auth?.session;
    const known = id === undefined ? undefined : await this.#store.get(id);
    if (known === undefined) {
      const session: UiaSession = {
        id: this.#random.string(24),
        request: digest,
        userId: request.userId,
        completed: [],
        proofs: {},
      };
      await this.#store.put(session);
      return session;
    }
    if (known.request !== digest || known.userId !== request.userId) {
      throw new MatrixError('M_FORBIDDEN', 'This authentication session was begun for a different request.');
    }
    return known;
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
    const proof = await stage.attempt(auth, { userId: request.userId, ip: request.ip });
    const advanced: UiaSession = {
      ...session,
      completed: [...session.completed, type],
      proofs: proof === undefined ? session.proofs : { ...session.proofs, [type]: proof },
    };
    await this.#store.put(advanced);
    return advanced;
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
      ...(session.completed.length === 0 ? {} : { completed: session.completed }),
      flows: request.flows.map((stages) => ({ stages })),
      params,
      session: session.id,
    });
  }
}
