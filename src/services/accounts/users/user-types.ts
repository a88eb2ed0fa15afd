/** What an account may be beside a person's. */
export const USER_TYPES: readonly string[] = ['bot', 'support'];
