/** Why an event is not sent when the policy server of its room says nothing. Server-Server API, "Validating Policy Server signatures". */
export const POLICY_ERRORS = ['M_CONNECTION_FAILED', 'M_CONNECTION_TIMEOUT'] as const;
