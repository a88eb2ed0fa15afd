import type { Logger } from '#src/kernel/logger.ts';
import { sendLeave } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { MembershipApi } from '#src/remote/federation/membership-api.ts';
import { candidatesFor } from '#src/services/federation/handshakes/join-candidates.ts';
import { memberEvent, type MemberEvents } from '#src/services/federation/handshakes/member-events.ts';
import type { OutOfBandMemberships } from '#src/services/federation/out-of-band/out-of-band-memberships.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { isPending } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { ServerPolicy } from '#src/services/servers/server-policy.ts';
import { membershipTemplate, RefusalError, tryEach } from './server-attempts.ts';

export interface RemoteLeavesOptions {
  readonly api: MembershipApi;
  readonly policy: ServerPolicy;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly outOfBand: OutOfBandMemberships;
  readonly members: MemberEvents;
  readonly serverName: string;
  readonly logger: Logger;
}

/** Leaves rooms that this server is not in, for local users: rejects invites and takes back knocks. Server-Server API, "Leaving Rooms". */
export class RemoteLeaves {
  readonly #options: RemoteLeavesOptions;

  constructor(options: RemoteLeavesOptions) {
    this.#options = options;
  }

  /** Rejects an invite, or takes back a knock. Where no server can be reached, a job sends it later. */
  async leave(room: Room, userId: string, reason: string | undefined): Promise<void> {
    const member = await memberEvent(this.#options.loader, room, userId);
    if (member === undefined || !isOpen(room, userId)) return;
    const servers = this.#servers(room, member);
    const content: JsonObject = { membership: 'leave', ...(reason === undefined ? {} : { reason }) };
    let event: BuiltPdu | undefined;
    try {
      event = await tryEach(this.#options.logger, servers.slice(0, MAX_FOR_LEAVE), (server) =>
        this.through(server, room, userId, content),
      );
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
      this.#options.logger.info('the rejection of an invite could not be sent; a job retries it', {
        room_id: room.roomId,
        user_id: userId,
        err: error,
      });
    }
    const { outOfBand } = this.#options;
    const { roomId, version } = room;
    if (event !== undefined) await outOfBand.store({ roomId, version, event, state: [] });
    else {
      const jobs = [requestJob(sendLeave, { room: room.nid, userId })];
      await outOfBand.store({
        roomId,
        version,
        event: this.#options.members.leaveAfter(room, userId, content, member),
        state: [],
        jobs,
      });
    }
  }

  /**
   * Sends the rejection of an invite that was made while no other server could be reached. A refusal means that there is nothing to leave any
   * more: the invite was revoked, or the room is gone.
   *
   * @throws MatrixError when it has to be tried again
   */
  async sendLeaveLater(roomNid: number, userId: string): Promise<void> {
    const room = await this.#options.rooms.byNid(roomNid);
    if (room === undefined || room.isResident || room.member(userId)?.membership !== 'leave') return;
    const leave = await memberEvent(this.#options.loader, room, userId);
    const servers = this.#servers(room, leave?.previous ?? leave);
    try {
      await tryEach(this.#options.logger, servers, (server) =>
        this.through(server, room, userId, { membership: 'leave' }),
      );
    } catch (error) {
      const isOver = error instanceof MatrixError && error.status < 500 && error.status !== 429;
      if (!isOver) throw error;
    }
  }

  /** Servers that may be in the room, best first. */
  #servers(room: Room, member: StoredEvent | undefined): readonly string[] {
    return candidatesFor({ roomId: room.roomId, named: [], room, member }, this.#options);
  }

  /** Leaves through one server. @throws RefusalError */
  async through(server: string, room: Room, userId: string, content: JsonObject): Promise<BuiltPdu> {
    const { roomId } = room;
    const { api } = this.#options;
    const { links, version } = await membershipTemplate(api, 'leave', server, { roomId, userId, known: room.version });
    const event = this.#options.members.complete(version, roomId, { sender: userId, target: userId, content }, links);
    const answer = await api.sendLeave(server, { roomId, eventId: event.eventId, event: event.pdu });
    if (!answer.ok) throw new RefusalError(answer);
    return event;
  }
}

/** Servers that are asked while a user waits for an invite to be gone. */
export const MAX_FOR_LEAVE = 3;

/** Whether a user is invited to a room, or knocks at it. */
export const isOpen = (room: Room, userId: string): boolean => isPending(room.member(userId)?.membership);
