import type { OutboundFailure } from '../outbound-result.ts';
import { type FederationFailure, federationFailure } from './federation-result.ts';

const KIND_OF: Readonly<Record<OutboundFailure['kind'], FederationFailure['kind']>> = {
  refused_url: 'bad_answer',
  refused_redirect: 'bad_answer',
  refused_address: 'denied',
  unresolved: 'unreachable',
  unreachable: 'unreachable',
  timeout: 'timeout',
  too_large: 'too_large',
  too_many_redirects: 'bad_answer',
  broken: 'unreachable',
  busy: 'unreachable',
  aborted: 'unreachable',
};

/** What an error of a connection to another server, or of its response, is as a failure of the request. */
export const failureOfError = async (
  error: unknown,
  destination: string,
  signal: AbortSignal,
): Promise<FederationFailure> => {
  const { failureOf } = await import('../outbound-failures.ts');
  const { kind, reason } = failureOf(error, destination, signal);
  return federationFailure(KIND_OF[kind], destination, `${sentence(reason)}.`);
};

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
