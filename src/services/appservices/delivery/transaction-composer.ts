import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Database } from '#src/storage/database.ts';
import type { ExtraSource } from '../transactions/extra-source.ts';
import {
  type AppserviceTransaction,
  bodyOf,
  type CarriedMessage,
  type Extras,
  NO_EXTRAS,
} from '../transactions/transaction.ts';
import type { AppserviceEvents } from './appservice-events.ts';
import type { Logged, ServiceLog } from './service-log.ts';

/** "A list of events" has so many at most: what bridges are known to take at once. */
export const MAX_EVENTS = 100;
/** Characters of the events of one transaction. */
export const MAX_CHARACTERS = 2_000_000;

export interface TransactionComposerOptions {
  readonly database: Database;
  readonly events: AppserviceEvents;
  /** What transactions carry beside events. */
  readonly extras: readonly ExtraSource[];
}

/** A transaction that was put together, and what is noted when it begins. */
export interface ComposedTransaction extends AppserviceTransaction {
  readonly sending: number;
  readonly extras: Extras;
}

/** Events waited, and are not there any more. */
interface NothingLeft {
  /** The place of the last of them in the log. */
  readonly nothingUpTo: number;
}

/** Puts the transactions of application services together, of the events in their logs and what waits beside these. */
export class TransactionComposer {
  readonly #options: TransactionComposerOptions;

  constructor(options: TransactionComposerOptions) {
    this.#options = options;
  }

  /** The transaction that was begun, once more: the same one, but for events that are gone. */
  async again(service: ApplicationService, log: ServiceLog, begun: number): Promise<ComposedTransaction | undefined> {
    const { done, extras, sending } = log.delivery;
    const kept = extras === null ? NO_EXTRAS : (JSON.parse(extras) as Extras);
    const upTo = sending ?? done;
    const events = await this.#read(service, await log.after(this.#options.database, done, upTo - done, upTo));
    if (events.length === 0 && isEmpty(kept)) return undefined;
    return this.#compose(log, begun, upTo, kept, events, log.end > upTo);
  }

  /**
   * The next transaction of a service.
   *
   * @param mostEvents how many events it may have
   * @returns undefined when nothing waits
   */
  async begin(
    service: ApplicationService,
    log: ServiceLog,
    mostEvents: number,
  ): Promise<ComposedTransaction | NothingLeft | undefined> {
    const { database } = this.#options;
    const { delivered, extras } = log.delivery;
    const kept = extras === null ? await this.#takeExtras(service) : (JSON.parse(extras) as Extras);
    const most = kept.holdsEventsBack ? 0 : mostEvents;
    const logged = most === 0 ? [] : await log.after(database, log.first, most);
    const events = await this.#read(service, logged);
    let characters = 0;
    const fitting = events.findIndex(({ text }) => (characters += text.length) > MAX_CHARACTERS);
    const taken = fitting > 0 ? events.slice(0, fitting) : events;
    const last = taken === events ? logged.at(-1)?.place : taken.at(-1)?.place;
    const sending = last ?? log.delivery.done;
    // Nothing of what was to be sent is there any more.
    if (taken.length === 0 && isEmpty(kept)) return last === undefined ? undefined : { nothingUpTo: last };
    return this.#compose(log, delivered + 1, sending, kept, taken, log.end > sending || kept.holdsEventsBack);
  }

  #compose(
    log: ServiceLog,
    number: number,
    sending: number,
    extras: Extras,
    events: readonly { readonly text: string }[],
    isFull: boolean,
  ): ComposedTransaction {
    const texts = events.map(({ text }) => text);
    return {
      number,
      id: `${log.delivery.run}.${number}`,
      body: bodyOf(texts, extras.members),
      events: events.length,
      messages: extras.messages,
      isFull,
      sending,
      extras,
    };
  }

  async #read(
    service: ApplicationService,
    logged: readonly Logged[],
  ): Promise<{ readonly place: number; readonly text: string }[]> {
    const texts = await this.#options.events.write(service, logged);
    return logged.flatMap(({ place }, index) => {
      const text = texts[index];
      return text === undefined ? [] : [{ place, text }];
    });
  }

  async #takeExtras(service: ApplicationService): Promise<Extras> {
    let members: JsonObject = {};
    const messages: CarriedMessage[] = [];
    let holdsEventsBack = false;
    let isNews = false;
    let told: readonly number[] | undefined;
    for (const source of this.#options.extras) {
      const taken = await source.take(service);
      if (taken === undefined) continue;
      members = { ...members, ...taken.members };
      messages.push(...(taken.messages ?? []));
      holdsEventsBack ||= taken.holdsEventsBack === true;
      isNews ||= taken.isNews;
      told ??= taken.told;
    }
    return { members, messages, holdsEventsBack, isNews, ...(told === undefined ? {} : { told }) };
  }
}

/** Whether it is no reason for a transaction. */
const isEmpty = ({ isNews, messages }: Extras): boolean => !isNews && messages.length === 0;

export const carriesNothing = (extras: Extras): boolean => isEmpty(extras) && Object.keys(extras.members).length === 0;
