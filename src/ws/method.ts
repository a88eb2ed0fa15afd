import type { Static, TObject, TSchema } from 'typebox';
import type { Errcode } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { AccessRules } from '#src/services/accounts/admission/access-rules.ts';
import type { MemberEventKind } from '#src/services/rooms/membership/member-event-kinds.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { RawResult } from './frames.ts';
import type { Presence, WebSocketServices } from './services.ts';
import { paramsValidator } from './validation.ts';
import type { Filter } from '#src/protocol/filters/filter.ts';

/** What a method may change of the stream on which it came. */
export interface StreamSettings {
  filter: Filter;
  /** The presence that the socket sets for its user while it is open. */
  presence: Presence;
}

export interface MethodContext<P extends TObject> {
  readonly params: Static<P>;
  readonly requester: Requester;
  readonly services: WebSocketServices;
  readonly stream: StreamSettings;
}

/** A method; `guests` and `suspended` are those of the HTTP endpoint that does the same. */
export interface MethodDeclaration<P extends TObject> extends AccessRules {
  readonly name: string;
  readonly summary: string;
  /** The operationId of the HTTP endpoint that does the same. */
  readonly sameAs?: string;
  /** The group of limits, of which the HTTP endpoint takes too. */
  readonly rateLimit: 'none' | 'default' | 'message' | 'join' | 'invite' | 'sync';
  /** The changes of memberships that it makes: those of the HTTP endpoint that does the same. */
  readonly memberEvents?: readonly MemberEventKind[];
  readonly params: P;
  /** `content` becomes part of an event: what canonical JSON cannot hold is refused. */
  readonly eventContent?: boolean;
  readonly result: TSchema;
  readonly errors: readonly Errcode[];
  readonly example: JsonObject;
  readonly handle: (context: MethodContext<P>) => Promise<JsonObject | RawResult>;
  /** What an earlier request with the same transaction id was answered. Asked when a request is refused, as over HTTP. */
  readonly earlierAnswer?: (context: MethodContext<P>) => Promise<JsonObject | undefined>;
}

/** A method with its schema types forgotten. */
export interface Method extends Omit<MethodDeclaration<TObject>, 'handle' | 'earlierAnswer'> {
  readonly earlierAnswer?: (context: MethodContext<never>) => Promise<JsonObject | undefined>;
  readonly handle: (context: MethodContext<never>) => Promise<JsonObject | RawResult>;
  readonly validate: (params: unknown) => void;
}

/** Declares a method once; validation, limits, metric and documentation come from the declaration. */
export const method = <P extends TObject>(declaration: MethodDeclaration<P>): Method =>
  ({ ...declaration, validate: paramsValidator(declaration.params) }) as unknown as Method;
