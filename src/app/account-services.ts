import { AccountModeration } from '#src/services/moderation/account-moderation.ts';
import { OpenIdTokens } from '#src/services/openid/openid-tokens.ts';
import { PusherService } from '#src/services/pushers/pusher-service.ts';
import type { UserService } from '#src/services/users/user-service.ts';
import { TurnCredentials } from '#src/services/voip/turn-credentials.ts';
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
