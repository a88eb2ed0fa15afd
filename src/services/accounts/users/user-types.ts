/** Types of accounts that are not a person's. */
export const USER_TYPES: readonly string[] = ['bot', 'support'];
