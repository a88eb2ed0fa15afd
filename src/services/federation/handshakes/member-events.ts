import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import { buildPdu, type BuiltPdu, type PduSigner, type PduTemplate } from '#src/protocol/events/build-pdu.ts';
import { eventReference } from '#src/protocol/events/event-hashes.ts';
import { checkPduFormat } from '#src/protocol/events/pdu-format.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { BadAnswerError } from '#src/services/federation/room-import/join-answer-splitter.ts';

/** Builds and signs the member events of local users for rooms of other servers. */
export class MemberEvents {
  readonly #options: { readonly clock: Clock; readonly random: Random; readonly signer: PduSigner };

  constructor(options: { readonly clock: Clock; readonly random: Random; readonly signer: PduSigner }) {
    this.#options = options;
  }

  /** Completes a template: hashes it and signs it. @throws BadAnswerError when what came back of it is no event */
  complete(
    version: RoomVersion,
    roomId: string,
    { content, sender, target }: { readonly sender: string; readonly target: string; readonly content: JsonObject },
    links: Pick<PduTemplate, 'depth' | 'prevEvents' | 'authEvents'>,
  ): BuiltPdu {
    const { clock, random, signer } = this.#options;
    const built = buildPdu(
      version,
      {
        type: MEMBER,
        sender,
        roomId,
        stateKey: target,
        content,
        originServerTs: clock.now(),
        ...links,
        ...(version.eventIdFormat === 'assigned' ? { eventId: `$${random.string(24)}:${signer.serverName}` } : {}),
      },
      signer,
    );
    const format = checkPduFormat(version, built.pdu);
    if (!format.ok) throw new BadAnswerError(`The template makes no event: ${format.reason}.`);
    return built;
  }

  /** A leave made by this server alone: its prev_event is the invite, its auth events are those of the invite. */
  leaveAfter(room: Room, userId: string, content: JsonObject, invite: StoredEvent): BuiltPdu {
    const reference = eventReference(room.version, invite.eventId, invite.pdu);
    return this.complete(
      room.version,
      room.roomId,
      { sender: userId, target: userId, content },
      {
        depth: Math.min(invite.topo + 1, Number.MAX_SAFE_INTEGER),
        prevEvents: [reference],
        authEvents: [...invite.pdu.auth_events.slice(0, 9), reference],
      },
    );
  }
}

/** The present member event of a user; undefined where there is none. */
export const memberEvent = async (
  loader: Pick<EventLoader, 'one'>,
  room: Room | undefined,
  userId: string,
): Promise<StoredEvent | undefined> => {
  const member = room?.member(userId);
  return room === undefined || member === undefined || member.event === 0 ? undefined : loader.one(room, member.event);
};
