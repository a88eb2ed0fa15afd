import { Type } from 'typebox';
import type { PasswordPolicy } from '#src/services/accounts/credentials/password-policy.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly passwordPolicy: PasswordPolicy;
}

const flag = Type.Optional(Type.Boolean());

/** MSC2000: what a new password must contain, so that clients can check it before they send it. What is not required is left out. */
export const passwordPolicyEndpoints = [
  endpoint({
    operationId: 'getPasswordPolicy',
    summary: 'What a new password must have.',
    method: 'GET',
    path: '/_matrix/client/v3/password_policy',
    aliases: ['/_matrix/client/unstable/password_policy'],
    auth: 'none',
    rateLimit: 'default',
    response: Type.Object({
      'm.minimum_length': Type.Optional(Type.Integer()),
      'm.require_digit': flag,
      'm.require_symbol': flag,
      'm.require_uppercase': flag,
      'm.require_lowercase': flag,
    }),
    errcodes: ['M_LIMIT_EXCEEDED'],
    async handler({ passwordPolicy: policy }: Services) {
      return {
        'm.minimum_length': policy.minimumLength,
        ...(policy.requireDigit === true ? { 'm.require_digit': true } : {}),
        ...(policy.requireSymbol === true ? { 'm.require_symbol': true } : {}),
        ...(policy.requireUppercase === true ? { 'm.require_uppercase': true } : {}),
        ...(policy.requireLowercase === true ? { 'm.require_lowercase': true } : {}),
      };
    },
  }),
];
