import type { ThreadDecision, UserThreads } from './user-threads.ts';

/** Changed thread subscriptions, as clients get them: room -> root -> JSON value. MSC4308. */
export interface ThreadPage {
  readonly subscribed: ReadonlyMap<
    string,
    ReadonlyMap<string, { readonly automatic: boolean; readonly bumpStamp: number }>
  >;
  readonly unsubscribed: ReadonlyMap<string, ReadonlyMap<string, { readonly bumpStamp: number }>>;
  /** The token for what is older and not here; undefined when there is nothing. */
  readonly older: string | undefined;
}

/** Range of positions of the wanted subscriptions, both ends exclusive. */
export interface ThreadSpan {
  readonly after: number;
  readonly before: number;
  /** Decisions at most. */
  readonly limit: number;
}

/** The latest decisions of a span. */
export const pageOfThreads = (threads: UserThreads, { after, before, limit }: ThreadSpan): ThreadPage => {
  const found = threads.between(after, before - 1);
  const taken = found.slice(0, limit);
  const subscribed = new Map<string, Map<string, { automatic: boolean; bumpStamp: number }>>();
  const unsubscribed = new Map<string, Map<string, { bumpStamp: number }>>();
  for (const { roomId, root, automatic, pos } of taken) {
    if (automatic === undefined) within(unsubscribed, roomId).set(root, { bumpStamp: pos });
    else within(subscribed, roomId).set(root, { automatic, bumpStamp: pos });
  }
  const last: ThreadDecision | undefined = taken.at(-1);
  const older = last !== undefined && found.length > taken.length ? encodeThreadsToken(last.pos) : undefined;
  return { subscribed, unsubscribed, older };
};

const within = <Value>(rooms: Map<string, Map<string, Value>>, roomId: string): Map<string, Value> => {
  let threads = rooms.get(roomId);
  if (threads === undefined) rooms.set(roomId, (threads = new Map()));
  return threads;
};

/** The JSON members of a page. */
export const threadMembers = ({ subscribed, unsubscribed }: ThreadPage): Record<string, object> => {
  const textOf = <Value>(
    rooms: ReadonlyMap<string, ReadonlyMap<string, Value>>,
    write: (value: Value) => object,
  ): Record<string, object> =>
    Object.fromEntries(
      Array.from(rooms, ([roomId, threads]) => [
        roomId,
        Object.fromEntries(Array.from(threads, ([root, value]) => [root, write(value)])),
      ]),
    );
  return {
    ...(subscribed.size === 0
      ? {}
      : { subscribed: textOf(subscribed, ({ automatic, bumpStamp }) => ({ automatic, bump_stamp: bumpStamp })) }),
    ...(unsubscribed.size === 0
      ? {}
      : { unsubscribed: textOf(unsubscribed, ({ bumpStamp }) => ({ bump_stamp: bumpStamp })) }),
  };
};

const TOKEN = /^h1_([0-9a-z]{1,10})$/;

/** Token for the subscriptions before a position. Opaque to clients. */
const encodeThreadsToken = (before: number): string => `h1_${before.toString(36)}`;

/** Parses such a token; undefined when it is invalid. */
export const decodeThreadsToken = (token: string): number | undefined => {
  const [, before] = TOKEN.exec(token) ?? [];
  return before === undefined ? undefined : Number.parseInt(before, 36);
};
