import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { CarriedMessage } from './transaction.ts';

/** What waits for a service beside events, taken to be sent. */
export interface TakenExtras {
  readonly members: JsonObject;
  readonly messages?: readonly CarriedMessage[];
  readonly holdsEventsBack?: boolean;
  /** Positions up to which it holds changes of devices, by shard. */
  readonly told?: readonly number[];
  /** Whether it is worth a transaction of its own. */
  readonly isNews: boolean;
}

/** A source of what transactions carry beside events. */
export interface ExtraSource {
  /** Takes what waits for a service: it is stored with the transaction from now on. Undefined when there is nothing. */
  take(service: ApplicationService): Promise<TakenExtras | undefined>;
  /** A service is not registered any more. */
  forget(service: string): void;
}
