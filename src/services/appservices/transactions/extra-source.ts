import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { CarriedMessage } from './transaction.ts';

/** What waits for a service beside events, taken to be sent. */
export interface TakenExtras {
  readonly members: JsonObject;
  readonly messages?: readonly CarriedMessage[];
  readonly holdsEventsBack?: boolean;
  /** Positions up to which it tells of changes of devices, by shard. */
  readonly told?: readonly number[];
  /** Whether it is worth a transaction of its own. */
  readonly isNews: boolean;
}

/** Where what transactions carry beside events comes from. */
export interface ExtraSource {
  /** Takes what waits for a service: it is kept with the transaction from now on. Undefined when there is nothing. */
  take(service: ApplicationService): Promise<TakenExtras | undefined>;
  /** A service is no more. */
  forget(service: string): void;
}
