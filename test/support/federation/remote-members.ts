import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { buildPdu } from '#src/protocol/events/build-pdu.ts';
import { eventReference } from '#src/protocol/events/event-hashes.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { SigningKey } from '#src/protocol/signing/signing-key.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';

export interface RemoteEvent {
  readonly type: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly stateKey?: string;
}

/** An event that another server makes on what a server has of a room now. */
export const remoteEvent = async (
  server: InProcessServer,
  roomId: string,
  { content, sender, stateKey, type }: RemoteEvent,
  signingKey: SigningKey,
): Promise<IdentifiedPdu> => {
  const { loader, rooms } = server.services;
  const room = (await rooms.byId(roomId)) as Room;
  const { version } = room;
  const subject = { type, sender, content, ...(stateKey === undefined ? {} : { state_key: stateKey }) };
  const auth = [];
  for (const [authType, authKey] of authEventKeysFor(version, subject)) {
    const slot = room.headState(authType, authKey);
    const event = slot?.event ?? (slot && (await loader.one(room, slot.nid)));
    if (event !== undefined) auth.push(event);
  }
  const referenced = (event: { readonly eventId: string; readonly pdu: IdentifiedPdu['pdu'] }) =>
    eventReference(version, event.eventId, event.pdu);
  return buildPdu(
    version,
    {
      type,
      sender,
      roomId,
      content,
      originServerTs: server.clock.now(),
      depth: room.headDepth + 1,
      prevEvents: room.head.extremities.map(referenced),
      authEvents: auth.map(referenced),
      ...(stateKey === undefined ? {} : { stateKey }),
    },
    { serverName: domainOf(sender) ?? '', signingKey },
  );
};

/** Has a server take in an event that another one makes. */
export const receiveRemote = async (
  server: InProcessServer,
  roomId: string,
  event: RemoteEvent,
  signingKey: SigningKey,
): Promise<string> => {
  const room = (await server.services.rooms.byId(roomId)) as Room;
  const pdu = await remoteEvent(server, roomId, event, signingKey);
  const reception = await server.services.receiver.receive(room, pdu);
  if (reception.outcome !== 'accepted') throw new Error(`not accepted: ${JSON.stringify(reception)}`);
  return pdu.eventId;
};

/** Lets users of other servers come into a room, or go. */
export const remoteMember = (
  server: InProcessServer,
  roomId: string,
  userId: string,
  membership: 'join' | 'leave' | 'knock',
  signingKey: SigningKey,
): Promise<string> =>
  receiveRemote(
    server,
    roomId,
    { type: 'm.room.member', sender: userId, stateKey: userId, content: { membership } },
    signingKey,
  );
