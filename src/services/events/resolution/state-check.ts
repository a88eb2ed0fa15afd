import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import type { AuthVerdict } from '#src/protocol/auth/verdict.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { identified } from '#src/services/room-model/event/identified-event.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { Names } from '#src/storage/room-model/names.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/**
 * Judges an event by a state, reading what the rules ask for: they ask without waiting.
 *
 * @param entry position of the state event under the integer of a state key
 */
export const checkAgainst = async (
  { interner, loader }: { readonly interner: Interner; readonly loader: Pick<EventLoader, 'load'> },
  room: Room,
  event: IdentifiedPdu,
  entry: (skey: number) => number | undefined,
): Promise<AuthVerdict> => {
  const known = new Map<number, StoredEvent>();
  const names = new Names();
  const asked = new Set<string>();
  for (;;) {
    const unnamed: { readonly type: string; readonly stateKey: string }[] = [];
    const unread = new Set<number>();
    const verdict = checkAuth(room.version, event, (type, stateKey) => {
      const skey = names.peekStateKey(type, stateKey);
      if (skey === undefined && !asked.has(stateMapKey(type, stateKey))) unnamed.push({ type, stateKey });
      const nid = skey === undefined ? undefined : entry(skey);
      if (nid === undefined) return undefined;
      const found = known.get(nid);
      if (found === undefined) unread.add(nid);
      return found === undefined ? undefined : identified(found);
    });
    if (unread.size === 0 && unnamed.length === 0) return verdict;
    if (unnamed.length > 0) names.with(await interner.find({ stateKeys: unnamed }));
    // What has no integer stands in no state.
    for (const { type, stateKey } of unnamed) asked.add(stateMapKey(type, stateKey));
    for (const [nid, found] of await loader.load([...unread].map((nid) => ({ room, nid })))) known.set(nid, found);
    if ([...unread].some((nid) => !known.has(nid)))
      throw new Error(`a state of ${room.roomId} names events that are not here`);
  }
};
