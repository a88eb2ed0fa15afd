/** The shape of push rules, as clients send and receive them (Client-Server API, "Push Rules"). */

/** The kinds of rule, in the order in which they are checked. Of `postcontent` (MSC4306) there are rules of the server alone. */
export const PUSH_RULE_KINDS = ['override', 'content', 'postcontent', 'room', 'sender', 'underride'] as const;

export type PushRuleKind = (typeof PUSH_RULE_KINDS)[number];

/** The number that stands for a kind where rules are kept. Numbers do not change. */
export const PUSH_RULE_KIND_NUMBERS: Readonly<Record<PushRuleKind, number>> = {
  override: 0,
  content: 1,
  room: 2,
  sender: 3,
  underride: 4,
  postcontent: 5,
};

export function isPushRuleKind(kind: string): kind is PushRuleKind {
  return (PUSH_RULE_KINDS as readonly string[]).includes(kind);
}

/** A condition as a client wrote it. Kinds that this server does not know are kept, and never match. */
export interface PushCondition {
  readonly kind: string;
  readonly key?: string;
  readonly pattern?: string;
  readonly is?: string;
  readonly value?: unknown;
  readonly [parameter: string]: unknown;
}

export interface SetTweakAction {
  readonly set_tweak: string;
  readonly value?: unknown;
  readonly [parameter: string]: unknown;
}

/** Actions of former versions of the specification: kept as clients wrote them, because those look for them again, and without any effect. */
export type HistoricalAction = 'dont_notify' | 'coalesce';

export type PushAction = 'notify' | HistoricalAction | SetTweakAction;

export interface PushRule {
  /** Unique within the kind. Server-default rules, and only they, start with a dot. */
  readonly rule_id: string;
  readonly default: boolean;
  readonly enabled: boolean;
  /** Override, postcontent and underride rules only. No conditions: always matches. */
  readonly conditions?: readonly PushCondition[];
  /** Content rules only. */
  readonly pattern?: string;
  readonly actions: readonly PushAction[];
}

/** All the rules of a user, each kind in order of falling importance. */
export type PushRuleset = { readonly [K in PushRuleKind]: readonly PushRule[] };

export function isDefaultRuleId(ruleId: string): boolean {
  return ruleId.startsWith('.');
}
