import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { empty } from './auth-schemas.ts';

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
const common = { auth: 'accessToken', rateLimit: 'default', params } as const;

export const pushRulesEndpoints = ({ pushRules }: { readonly pushRules: PushRuleService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'getPushRules',
    summary: 'Retrieve all push rulesets.',
    method: 'GET',
    path: '/_matrix/client/v3/pushrules/',
    aliases: ['/_matrix/client/v3/pushrules'],
    auth: 'accessToken',
    rateLimit: 'default',
    response: Type.Object({ global: ruleset }),
    errors: ['M_LIMIT_EXCEEDED'],
    async handle({ requester }) {
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
    rateLimit: 'default',
    response: ruleset,
    errors: ['M_LIMIT_EXCEEDED'],
    handle: ({ requester }) => pushRules.rulesetOf(requester.userId),
  }),
  endpoint({
    ...common,
    operationId: 'getPushRule',
    summary: 'Retrieve a push rule.',
    method: 'GET',
    path,
    response: rule,
    errors: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    handle: ({ requester, params: { kind, ruleId } }) => pushRules.ruleOf(requester.userId, kind, ruleId),
  }),
  endpoint({
    ...common,
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
    response: empty,
    errors: [
      'M_BAD_JSON',
      'M_NOT_JSON',
      'M_MISSING_PARAM',
      'M_INVALID_PARAM',
      'M_UNKNOWN',
      'M_TOO_LARGE',
      'M_LIMIT_EXCEEDED',
    ],
    async handle({ requester, params: { kind, ruleId }, query: { before, after }, body }) {
      await pushRules.put(requester.userId, kind, ruleId, body as JsonObject, { before, after });
      return {};
    },
  }),
  endpoint({
    ...common,
    operationId: 'deletePushRule',
    summary: 'Delete a push rule.',
    method: 'DELETE',
    path,
    response: empty,
    errors: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { kind, ruleId } }) {
      await pushRules.remove(requester.userId, kind, ruleId);
      return {};
    },
  }),
  endpoint({
    ...common,
    operationId: 'isPushRuleEnabled',
    summary: 'Get whether a push rule is enabled',
    method: 'GET',
    path: `${path}/enabled`,
    response: Type.Object({ enabled: Type.Boolean() }),
    errors: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { kind, ruleId } }) {
      return { enabled: (await pushRules.ruleOf(requester.userId, kind, ruleId)).enabled };
    },
  }),
  endpoint({
    ...common,
    operationId: 'setPushRuleEnabled',
    summary: 'Enable or disable a push rule.',
    method: 'PUT',
    path: `${path}/enabled`,
    body: Type.Object({ enabled: Type.Boolean() }),
    response: empty,
    errors: ['M_NOT_FOUND', 'M_BAD_JSON', 'M_NOT_JSON', 'M_MISSING_PARAM', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { kind, ruleId }, body }) {
      await pushRules.setEnabled(requester.userId, kind, ruleId, body.enabled);
      return {};
    },
  }),
  endpoint({
    ...common,
    operationId: 'getPushRuleActions',
    summary: 'The actions for a push rule',
    method: 'GET',
    path: `${path}/actions`,
    response: Type.Object({ actions: Type.Array(action) }),
    errors: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { kind, ruleId } }) {
      return { actions: (await pushRules.ruleOf(requester.userId, kind, ruleId)).actions };
    },
  }),
  endpoint({
    ...common,
    operationId: 'setPushRuleActions',
    summary: 'Set the actions for a push rule.',
    method: 'PUT',
    path: `${path}/actions`,
    body: Type.Object({ actions: Type.Array(Type.Unknown()) }),
    response: empty,
    errors: ['M_NOT_FOUND', 'M_BAD_JSON', 'M_NOT_JSON', 'M_MISSING_PARAM', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { kind, ruleId }, body }) {
      await pushRules.setActions(requester.userId, kind, ruleId, body.actions);
      return {};
    },
  }),
];
