import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { Appended, MemberChange } from '#src/services/events/stream/room-event-stream.ts';

/** The servers that joined or left a room by what was committed, and with which event. */
export interface ServerChanges {
  readonly joined: ReadonlyMap<string, number>;
  readonly left: ReadonlyMap<string, number>;
}

const NONE: ServerChanges = { joined: new Map(), left: new Map() };

interface MemberCountDelta {
  /** By how much the number of joined members grew. */
  delta: number;
  firstJoin: number;
  lastLeave: number;
}

/** Computes which other servers joined or left; the room is as it is after all of it. Costs nothing where no membership changed. */
export const serverChanges = ({ room, events, resolvedMembers = [] }: Appended): ServerChanges => {
  let balances: Map<string, MemberCountDelta> | undefined;
  const count = ({ before, after }: MemberChange, nid: number): void => {
    const was = before?.membership === 'join';
    const is = after.membership === 'join';
    if (was === is || after.local) return;
    const server = domainOf(after.userId);
    // In a partially joined room it is not known yet which other members such a server has.
    if (server === undefined || room.partial?.servers.has(server) === true) return;
    let balance = balances?.get(server);
    if (balance === undefined)
      (balances ??= new Map()).set(server, (balance = { delta: 0, firstJoin: nid, lastLeave: nid }));
    balance.delta += is ? 1 : -1;
    if (!is) balance.lastLeave = nid;
  };
  for (const { event, member } of events) if (member !== undefined) count(member, event.nid);
  const last = events.at(-1)?.event.nid ?? 0;
  for (const member of resolvedMembers) count(member, last);
  if (balances === undefined) return NONE;
  const joined = new Map<string, number>();
  const left = new Map<string, number>();
  for (const [server, { delta, firstJoin, lastLeave }] of balances) {
    const now = room.joinedServers().get(server) ?? 0;
    if (now > 0 && now - delta <= 0) joined.set(server, firstJoin);
    else if (now === 0 && delta < 0) left.set(server, lastLeave);
  }
  return { joined, left };
};
