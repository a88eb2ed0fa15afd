import { AccountModeration } from '#src/services/accounts/moderation/account-moderation.ts';
import { OpenIdTokens } from '#src/services/accounts/openid/openid-tokens.ts';
import { PusherService } from '#src/services/push/pushers/pusher-service.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import { TurnCredentials } from '#src/services/user-data/voip/turn-credentials.ts';
import type { Platform } from './platform.ts';

/** What is done for accounts beside logging in. */
export interface AccountServices {
  readonly moderation: AccountModeration;
  readonly openId: OpenIdTokens;
  readonly pushers: PusherService;
  readonly turn: TurnCredentials;
}

export function composeAccountServices(platform: Platform, users: UserService): AccountServices {
  const { clock, config, database, random } = platform;
  return {
    moderation: new AccountModeration(users),
    openId: new OpenIdTokens({ database, clock, random }),
    pushers: new PusherService({ database, clock }),
    turn: new TurnCredentials(config.turn, clock),
  };
}
