import { domainOf, isServerName } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { ServerPolicy } from '#src/services/servers/server-policy.ts';

/** Servers that are asked for one membership. */
export const MAX = 20;

/** What is known of the servers in a room. */
export interface CandidateSources {
  readonly roomId: string;
  /** Servers that the client names. */
  readonly named: readonly string[];
  readonly room: Room | undefined;
  /** The user's invite or knock, if there is one. */
  readonly member: StoredEvent | undefined;
}

export interface CandidateRules {
  /** This server: it is no candidate. */
  readonly serverName: string;
  /** Says with which servers this one speaks; without it, with all. */
  readonly policy?: Pick<ServerPolicy, 'allows'>;
}

/**
 * The servers that may be in a room, the most likely to accept the join first: those that the client names, the inviter's, those in the stripped
 * state of an invite, those that were there when this server was in the room itself, and the one in the room id.
 */
export const candidatesFor = (
  { roomId, named, room, member }: CandidateSources,
  { policy, serverName }: CandidateRules,
): readonly string[] => {
  const inState = Object.values(member?.pdu.unsigned ?? {}).flatMap((state) =>
    Array.isArray(state) ? state.flatMap((one) => (isJsonObject(one) ? serverOf(one['sender']) : [])) : [],
  );
  const found = [
    ...named,
    ...serverOf(member?.sender),
    ...inState,
    ...(room?.remoteServers() ?? []),
    ...serverOf(roomId),
  ];
  return [...new Set(found)]
    .filter((server) => server !== serverName && isServerName(server) && policy?.allows(server) !== false)
    .slice(0, MAX);
};

const serverOf = (id: unknown): readonly string[] => {
  const domain = typeof id === 'string' ? domainOf(id) : undefined;
  return domain === undefined ? [] : [domain];
};
