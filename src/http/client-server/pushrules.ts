import { Type } from 'typebox';
import { KEEPS_OWN, READS } from '#src/services/accounts/admission/access-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';

const action = Type.Union([Type.String(), Type.Object({}, { additionalProperties: true })]);
const condition = Type.Object({ kind: Type.String() }, { additionalProperties: true });
const rule = Type.Object({
  rule_id: Type.String(),
  default: Type.Boolean(),
  enabled: Type.Boolean(),
  actions: Type.Array(action),
  conditions: Type.Optional(Type.Array(condition)),
  pattern: Type.Optional(Type.String()),
});
const ruleset = Type.Object({
  override: Type.Array(rule),
  content: Type.Array(rule),
  room: Type.Array(rule),
  sender: Type.Array(rule),
  underride: Type.Array(rule),
});

const path = '/_matrix/client/v3/pushrules/global/{kind}/{ruleId}';
const params = Type.Object({ kind: Type.String(), ruleId: Type.String() });
const common = { auth: 'accessToken', guests: 'refused', rateLimit: 'default', params } as const;

interface Services {
  readonly pushRules: PushRuleService;
}

export const pushRulesEndpoints = [
  endpoint({
    operationId: 'getPushRules',
    summary: 'Retrieve all push rulesets.',
    method: 'GET',
    path: '/_matrix/client/v3/pushrules/',
    aliases: ['/_matrix/client/v3/pushrules'],
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    response: Type.Object({ global: ruleset }),
    errcodes: ['M_LIMIT_EXCEEDED'],
    async handler({ pushRules }: Services, { requester }) {
      return { global: await pushRules.rulesetOf(requester.userId) };
    },
  }),
  endpoint({
    operationId: 'getPushRulesGlobal',
    summary: 'Retrieve all push rules.',
    method: 'GET',
    path: '/_matrix/client/v3/pushrules/global/',
    aliases: ['/_matrix/client/v3/pushrules/global'],
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    response: ruleset,
    errcodes: ['M_LIMIT_EXCEEDED'],
    handler: ({ pushRules }: Services, { requester }) => pushRules.rulesetOf(requester.userId),
  }),
  // Not in the specification, and served by all other servers.
  endpoint({
    operationId: 'getPushRulesOfKind',
    summary: 'Retrieve all push rules of a kind.',
    method: 'GET',
    path: '/_matrix/client/v3/pushrules/global/{kind}/',
    aliases: ['/_matrix/client/v3/pushrules/global/{kind}'],
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    params: Type.Object({ kind: Type.String() }),
    response: Type.Array(rule),
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    handler: ({ pushRules }: Services, { requester, params: { kind } }) =>
      pushRules.rulesOfKind(requester.userId, kind),
  }),
  endpoint({
    ...common,
    suspended: READS,
    operationId: 'getPushRule',
    summary: 'Retrieve a push rule.',
    method: 'GET',
    path,
    response: rule,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    handler: ({ pushRules }: Services, { requester, params: { kind, ruleId } }) =>
      pushRules.ruleOf(requester.userId, kind, ruleId),
  }),
  endpoint({
    ...common,
    suspended: KEEPS_OWN,
    operationId: 'setPushRule',
    summary: 'Add or change a push rule.',
    method: 'PUT',
    path,
    query: Type.Object({ before: Type.Optional(Type.String()), after: Type.Optional(Type.String()) }),
    body: Type.Object(
      {
        actions: Type.Optional(Type.Unknown({ description: 'A list of actions.' })),
        conditions: Type.Optional(
          Type.Unknown({ description: 'A list of conditions; override and underride rules only.' }),
        ),
        pattern: Type.Optional(Type.Unknown({ description: 'A glob; content rules only.' })),
      },
      { additionalProperties: true },
    ),
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: [
      'M_BAD_JSON',
      'M_NOT_JSON',
      'M_MISSING_PARAM',
      'M_INVALID_PARAM',
      'M_UNKNOWN',
      'M_TOO_LARGE',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ pushRules }: Services, { requester, params: { kind, ruleId }, query: { before, after }, body }) {
      await pushRules.put(requester.userId, kind, ruleId, body as JsonObject, { before, after });
      return {};
    },
  }),
  endpoint({
    ...common,
    suspended: KEEPS_OWN,
    operationId: 'deletePushRule',
    summary: 'Delete a push rule.',
    method: 'DELETE',
    path,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ pushRules }: Services, { requester, params: { kind, ruleId } }) {
      await pushRules.remove(requester.userId, kind, ruleId);
      return {};
    },
  }),
  endpoint({
    ...common,
    suspended: READS,
    operationId: 'isPushRuleEnabled',
    summary: 'Get whether a push rule is enabled',
    method: 'GET',
    path: `${path}/enabled`,
    response: Type.Object({ enabled: Type.Boolean() }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ pushRules }: Services, { requester, params: { kind, ruleId } }) {
      return { enabled: (await pushRules.ruleOf(requester.userId, kind, ruleId)).enabled };
    },
  }),
  endpoint({
    ...common,
    suspended: KEEPS_OWN,
    operationId: 'setPushRuleEnabled',
    summary: 'Enable or disable a push rule.',
    method: 'PUT',
    path: `${path}/enabled`,
    body: Type.Object({ enabled: Type.Boolean() }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_BAD_JSON', 'M_NOT_JSON', 'M_MISSING_PARAM', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ pushRules }: Services, { requester, params: { kind, ruleId }, body }) {
      await pushRules.setEnabled(requester.userId, kind, ruleId, body.enabled);
      return {};
    },
  }),
  endpoint({
    ...common,
    suspended: READS,
    operationId: 'getPushRuleActions',
    summary: 'The actions for a push rule',
    method: 'GET',
    path: `${path}/actions`,
    response: Type.Object({ actions: Type.Array(action) }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ pushRules }: Services, { requester, params: { kind, ruleId } }) {
      return { actions: (await pushRules.ruleOf(requester.userId, kind, ruleId)).actions };
    },
  }),
  endpoint({
    ...common,
    suspended: KEEPS_OWN,
    operationId: 'setPushRuleActions',
    summary: 'Set the actions for a push rule.',
    method: 'PUT',
    path: `${path}/actions`,
    body: Type.Object({ actions: Type.Array(Type.Unknown()) }),
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: [
      'M_NOT_FOUND',
      'M_BAD_JSON',
      'M_NOT_JSON',
      'M_MISSING_PARAM',
      'M_INVALID_PARAM',
      'M_TOO_LARGE',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ pushRules }: Services, { requester, params: { kind, ruleId }, body }) {
      await pushRules.setActions(requester.userId, kind, ruleId, body.actions);
      return {};
    },
  }),
];
