import { doing, Work } from '#src/kernel/event-loop/work.ts';
import type { Admission } from '#src/services/accounts/admission/admission.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { WebSocketDependencies } from './dependencies.ts';
import type { Method } from './method.ts';
import type { SocketMetrics } from './socket-metrics.ts';

/**
 * Does a request of a socket as a piece of work of its user: what it costs is charged to them, and it is measured and logged.
 *
 * @param method undefined when there is none of that name
 * @param answer answers it; returns the errcode, empty when it went well
 */
export const doRequest = async (
  hub: {
    readonly admission: Admission;
    readonly deps: Pick<WebSocketDependencies, 'clock' | 'logger'>;
    readonly metrics: SocketMetrics;
  },
  method: Method | undefined,
  { requester, ip, bytes }: { readonly requester: Requester; readonly ip: string; readonly bytes: number },
  answer: (work: Work) => Promise<string>,
): Promise<void> => {
  const { admission, deps, metrics } = hub;
  const started = deps.clock.monotonic();
  const name = method?.name ?? 'unknown';
  const work = new Work(`websocket.${name}`);
  work.bytesIn = bytes;
  work.party = () => requester.userId;
  work.resume = () => admission.resume(requester.userId);
  work.charge = (ms) => {
    if (requester.rateLimited) admission.chargeMeasured(requester.userId, ms);
  };
  const errcode = await doing(work, () => answer(work));
  if (requester.rateLimited) admission.charge(requester.userId, work, true);
  const ms = deps.clock.monotonic() - started;
  metrics.served(name, errcode, ms);
  deps.logger.debug('websocket request', { method: method?.name, errcode, ms, user_id: requester.userId, ip });
};
