import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';

/** A to-device message of a transaction, which is deleted when the transaction has arrived. */
export interface CarriedMessage {
  readonly userId: string;
  readonly deviceId: string;
  readonly pos: number;
}

/** What a transaction carries beside events. It is stored until it has arrived, so that it is the same however often it is sent. */
export interface Extras {
  /** Members of the transaction's body. */
  readonly members: JsonObject;
  readonly messages: readonly CarriedMessage[];
  /** More to-device messages are pending: events wait for them, because they may carry the keys. */
  readonly holdsEventsBack: boolean;
  /** Whether it is worth a transaction without events. */
  readonly isNews: boolean;
  /** Positions up to which it holds changes of devices, by shard. */
  readonly told?: readonly number[];
}

export const NO_EXTRAS: Extras = { members: {}, messages: [], holdsEventsBack: false, isNews: false };

/** A transaction on its way to an application service. Application Service API, `PUT /transactions/{txnId}`. */
export interface AppserviceTransaction {
  /** Its number: the service's delivery queue counts them. */
  readonly number: number;
  readonly id: string;
  /** JSON object. */
  readonly body: string;
  /** How many events it has. */
  readonly events: number;
  readonly messages: readonly CarriedMessage[];
  /** More is known to wait behind it. */
  readonly isFull: boolean;
}

/** The body of a transaction. @param events JSON texts */
export const bodyOf = (events: readonly string[], members: JsonObject): string => {
  const more = JSON.stringify(members);
  return `{"events":[${events.join(',')}]${more === '{}' ? '' : `,${more.slice(1, -1)}`}}`;
};

/** The result of sending a transaction. */
export type Sent =
  | { readonly kind: 'arrived' }
  /** It did not arrive; not to be tried before so many milliseconds, when the service said so. */
  | { readonly kind: 'failed'; readonly reason: string; readonly afterMs?: number | undefined }
  /** The service answered that the content is wrong. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** It has no URL and no open WebSocket at present. */
  | { readonly kind: 'nowhere' };

/** Sends a transaction to a service. */
export interface TransactionSender {
  send(service: ApplicationService, transaction: AppserviceTransaction, signal: AbortSignal): Promise<Sent>;
}
