import type { Logger } from '#src/kernel/logger.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { sendLeave } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { matrixErrorOf } from '#src/remote/federation/federation-client.ts';
import type { Handshake, MadeMembership, MembershipApi } from '#src/remote/federation/membership-api.ts';
import type { EventReceiver, Reception } from '#src/services/events/receiving/event-receiver.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { ClosedRooms } from '#src/services/rooms/membership/closed-rooms.ts';
import { notInRoom } from '#src/services/reading/access/room-access.ts';
import { JOINED_STATE_BYTES } from '#src/services/rooms/membership/membership-gate.ts';
import type { RemoteEntry, RemoteMembership } from '#src/services/rooms/membership/remote-membership.ts';
import type { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import type { ServerPolicy } from '#src/services/servers/server-policy.ts';
import type { GapCloser } from '#src/services/federation/inbound/inbound-receiving.ts';
import { candidatesFor } from '#src/services/federation/handshakes/join-candidates.ts';
import type { FullStates } from '#src/services/federation/partial-state/full-states.ts';
import type { JoinAnswer, JoinAnswerReader } from '#src/services/federation/join-answers/join-answer-reader.ts';
import {
  type AnswerBounds,
  BadAnswerError,
  MORE_BYTES,
} from '#src/services/federation/join-answers/join-answer-splitter.ts';
import type { OutOfBandMemberships } from '#src/services/federation/out-of-band/out-of-band-memberships.ts';
import type { UnjoinedRooms } from '#src/services/federation/out-of-band/unjoined-rooms.ts';
import type { RoomImport } from '#src/services/federation/join-answers/room-import.ts';
import { guestsMayJoin } from '#src/protocol/content/guest-access.ts';
import { guestAccessForbidden } from '#src/services/rooms/membership/guest-rules.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { GUEST_ACCESS, MEMBER } from '#src/protocol/events/event-types.ts';
import { memberEvent, type MemberEvents } from '#src/services/federation/join-answers/member-events.ts';
import type { SentInvites } from '#src/services/federation/invites/sent-invites.ts';
import { RefusalError, tryEach } from './server-attempts.ts';
import { receivedRoomState, verifiedRoomState } from '#src/services/federation/invites/invite-room-state.ts';

export interface FederationMembershipOptions {
  readonly api: MembershipApi;
  readonly closed: Pick<ClosedRooms, 'assertOpen'>;
  readonly policy: ServerPolicy;
  readonly verifier: EventVerifier;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly receiver: EventReceiver;
  readonly unjoinedRooms: UnjoinedRooms;
  readonly outOfBand: OutOfBandMemberships;
  readonly imports: RoomImport;
  readonly invites: SentInvites;
  readonly members: MemberEvents;
  readonly serverName: string;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Limits of a `send_join` response. */
  readonly bounds: AnswerBounds;
  readonly answers: JoinAnswerReader;
  /** Counts the size of the states of rooms that users join. */
  readonly rateLimiter: Pick<RateLimiter, 'charge'>;
  /** Fetches what was left out of an answer. */
  readonly fullStates: FullStates;
  /** Fetches missing events. */
  readonly gaps: GapCloser;
  /** Joins with a part of the state, so that users need not wait for the memberships of all. */
  readonly omitsMembers: boolean;
}

/** A join that is to be sent. */
interface BuiltJoin {
  readonly roomId: string;
  readonly version: RoomVersion;
  readonly built: BuiltPdu;
  /** A user of another server authorises it. */
  readonly isAuthorised: boolean;
  readonly isGuest: boolean;
}

/** Joins, knocks at and leaves rooms of other servers for local users, and invites remote users. Server-Server API, "Joining Rooms". */
export class FederationMembership implements RemoteMembership {
  readonly #options: FederationMembershipOptions;
  /** Rooms whose join was accepted by another server, while they are imported. */
  readonly #coming = new Map<string, Promise<void>>();
  /** One after the other in each room: the first one imports the room, and the others find it. */
  readonly #entering = new SerialByKey<string>();

  constructor(options: FederationMembershipOptions) {
    this.#options = options;
  }

  isNeeded(room: Room | undefined, userId: string, how: 'join' | 'knock' | 'leave'): boolean {
    if (room?.isHere !== true) return true;
    // Whether they are banned is known where the state is whole.
    if (room.isResident) return how === 'join' && room.partial !== undefined;
    // All local members have left. Where no other server was in the room, its copy here is the whole room.
    return room.remoteServers().length > 0 || room.member(userId)?.membership === 'invite';
  }

  async enter(how: 'join' | 'knock', entry: RemoteEntry): Promise<boolean> {
    const isDone = await this.#enter(how, entry);
    const room = how === 'join' ? await this.#options.rooms.heardOf(entry.roomId) : undefined;
    // The state of a small room is often here by the time the user is.
    if (room !== undefined) await this.#options.fullStates.attempt(room);
    return isDone;
  }

  #enter(how: 'join' | 'knock', entry: RemoteEntry): Promise<boolean> {
    return this.#entering.run(entry.roomId, async () => {
      this.#options.closed.assertOpen(entry.roomId);
      const room = await this.#options.rooms.heardOf(entry.roomId);
      if (room?.isJoined(entry.userId) === true) return true;
      const wasResident = room?.isResident === true;
      const member = await memberEvent(this.#options.loader, room, entry.userId);
      const servers = this.#candidates(entry.roomId, entry.servers, room, member);
      // No server can be asked: for the user it is as if there were no such room.
      if (servers.length === 0) throw notInRoom();
      await this.#exchange(entry);
      const known = wasResident ? room.version : undefined;
      const named = this.#candidates('', entry.servers, undefined, member);
      return tryEach(
        this.#options.logger,
        servers,
        (server) => (how === 'join' ? this.#joinThrough(server, entry, known) : this.#knockThrough(server, entry)),
        named.length === 0 ? servers : named,
      );
    });
  }

  /** Resolves when the running join of a room ends, or takes too long; undefined when there is none. */
  coming(roomId: string): Promise<void> | undefined {
    const join = this.#coming.get(roomId);
    if (join === undefined) return undefined;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = this.#options.timers.after(MAX_COMING_MS, resolve);
    return Promise.race([join, late]).finally(() => timer.cancel());
  }

  async leave(room: Room, userId: string, reason: string | undefined): Promise<void> {
    await this.#entering.run(room.roomId, async () => {
      const member = await memberEvent(this.#options.loader, room, userId);
      if (member === undefined || !isOpen(room, userId)) return;
      const servers = this.#candidates(room.roomId, [], room, member);
      const content: JsonObject = { membership: 'leave', ...(reason === undefined ? {} : { reason }) };
      let event: BuiltPdu | undefined;
      try {
        event = await tryEach(this.#options.logger, servers.slice(0, MAX_FOR_LEAVE), (server) =>
          this.#leaveThrough(server, room, userId, content),
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
    });
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
    const servers = this.#candidates(room.roomId, [], room, leave?.previous ?? leave);
    try {
      await tryEach(this.#options.logger, servers, (server) =>
        this.#leaveThrough(server, room, userId, { membership: 'leave' }),
      );
    } catch (error) {
      const isOver = error instanceof MatrixError && error.status < 500 && error.status !== 429;
      if (!isOver) throw error;
    }
  }

  #candidates(
    roomId: string,
    named: readonly string[],
    room: Room | undefined,
    member: StoredEvent | undefined,
  ): readonly string[] {
    const { policy, serverName } = this.#options;
    return candidatesFor({ roomId, named, room, member }, serverName, (server) => policy.allows(server));
  }

  invite(room: Room, sender: string, target: string, content: JsonObject): Promise<StoredEvent> {
    return this.#options.invites.invite(room, sender, target, content);
  }

  async #make(
    how: Handshake,
    server: string,
    request: { readonly roomId: string; readonly userId: string; readonly known?: RoomVersion | undefined },
  ): Promise<MadeMembership> {
    const made = await this.#options.api.make(how, server, request);
    if (!made.ok) throw new RefusalError(made);
    return made;
  }

  /** @returns false when a user of this server came into the room meanwhile */
  async #joinThrough(
    server: string,
    { userId, roomId, content, isGuest = false }: RemoteEntry,
    known: RoomVersion | undefined,
  ): Promise<boolean> {
    if (this.#options.answers.isPaused({ server, roomId, request: 'send_join' }))
      throw new BadAnswerError('What it told before was long and of no use: try again later.');
    const made = await this.#make('join', server, { roomId, userId, known });
    const named = made.version.auth.restrictedJoins ? made.content['join_authorised_via_users_server'] : undefined;
    const authorising = isUserId(named) ? named : undefined;
    const built = this.#options.members.complete(
      made.version,
      roomId,
      {
        sender: userId,
        target: userId,
        content: {
          ...content,
          membership: 'join',
          ...(authorising === undefined ? {} : { join_authorised_via_users_server: authorising }),
        },
      },
      made.links,
    );
    const { promise: isOver, resolve } = Promise.withResolvers<void>();
    this.#coming.set(roomId, isOver);
    try {
      const isAuthorised = authorising !== undefined;
      return await this.#sendJoin(server, { roomId, version: made.version, built, isAuthorised, isGuest });
    } finally {
      this.#coming.delete(roomId);
      resolve();
    }
  }

  /** Sends a join, and imports the room from the answer. @returns false when a user of this server came into the room meanwhile */
  async #sendJoin(server: string, { roomId, version, built, isAuthorised, isGuest }: BuiltJoin): Promise<boolean> {
    const { api, bounds, omitsMembers, unjoinedRooms } = this.#options;
    const known = await this.#options.rooms.heardOf(roomId);
    // A server that is in the room already has its state: of the answer only the acceptance of the join matters.
    const wantsPart = omitsMembers && (known?.isResident !== true || known.partial !== undefined);
    const sent = await api.sendJoin(
      server,
      { roomId, eventId: built.eventId, event: built.pdu },
      { omitsMembers: wantsPart, maxBodyBytes: bounds.bytes + MORE_BYTES },
    );
    if (!sent.ok) throw new RefusalError(sent);
    const received = await this.#read(server, { roomId, version }, sent.body, built.pdu.sender, async (answer) => {
      if (answer.membersOmitted && !wantsPart)
        throw new BadAnswerError('It left out members although all were asked for.');
      const join = await this.#completed(version, built, answer, isAuthorised);
      const room = await unjoinedRooms.ensure({ roomId, version, creator: built.pdu.sender, roomType: undefined });
      // That may take until the state is whole, which needs a place among the large answers itself.
      if (room.isResident) return () => this.#receiveJoin(room, join, answer, server);
      const isImported = await this.#import(room, join, answer, { server, isGuest });
      return () => Promise.resolve(isImported);
    });
    return received();
  }

  /** @returns false when a user of this server came into the room meanwhile */
  async #import(
    room: Room,
    join: IdentifiedPdu,
    answer: JoinAnswer,
    { server, isGuest }: { readonly server: string; readonly isGuest: boolean },
  ): Promise<boolean> {
    const { fullStates, imports, rateLimiter } = this.#options;
    const { sender } = join.pdu;
    if (isGuest && !letsGuestsIn(answer)) {
      await this.#takeBack(server, room, sender);
      throw guestAccessForbidden();
    }
    let imported: StoredEvent | undefined;
    try {
      imported = await imports.import(room, room.version, join, answer, server);
    } catch (error) {
      if (error instanceof MatrixError && error.errcode === 'M_RESOURCE_LIMIT_EXCEEDED')
        await this.#takeBack(server, room, sender);
      throw error;
    }
    if (imported === undefined) return false;
    rateLimiter.charge(JOINED_STATE_BYTES, sender, room.stateBytes());
    if (room.partial !== undefined) fullStates.begin(room);
    return true;
  }

  /** Leaves a room whose join was accepted but could not be completed here: for the other servers the user would stay in it. */
  async #takeBack(server: string, room: Room, userId: string): Promise<void> {
    const { roomId, version } = room;
    try {
      const event = await this.#leaveThrough(server, room, userId, { membership: 'leave' });
      if (isOpen(room, userId)) await this.#options.outOfBand.store({ roomId, version, event, state: [] });
    } catch (error) {
      if (!(error instanceof RefusalError) && !(error instanceof BadAnswerError)) throw error;
      this.#options.logger.info('the leave after a failed import of a room could not be sent', {
        room_id: roomId,
        user_id: userId,
        server,
        err: error,
      });
    }
  }

  async #read<T>(
    server: string,
    room: { readonly roomId: string; readonly version: RoomVersion },
    body: AsyncIterator<Buffer>,
    userId: string,
    use: (answer: JoinAnswer) => Promise<T>,
  ): Promise<T> {
    const { answers, rateLimiter } = this.#options;
    const onUseless = (bytes: number): void => rateLimiter.charge(JOINED_STATE_BYTES, userId, bytes);
    const topic = { server, roomId: room.roomId, request: 'send_join' } as const;
    let isRead = false;
    try {
      return await answers.read(room, { ...topic, body, onUseless }, (answer) => {
        isRead = true;
        return use(answer);
      });
    } catch (error) {
      if (isRead || error instanceof BadAnswerError) throw error;
      // A response that breaks off, or is too long.
      throw new BadAnswerError(error instanceof Error ? `${server}: ${error.message}` : `${server} broke off.`);
    }
  }

  /** The join as the other server has it: with its signature where one of its users authorised it. @throws BadAnswerError */
  async #completed(
    version: RoomVersion,
    built: BuiltPdu,
    { event }: JoinAnswer,
    isAuthorised: boolean,
  ): Promise<IdentifiedPdu> {
    if (!isAuthorised) return built;
    const [verified] = await this.#options.verifier.verify(version, [event]);
    if (verified?.ok !== true) throw new BadAnswerError('The join came back without the signature that authorises it.');
    if (verified.event.eventId !== built.eventId) throw new BadAnswerError('Another join came back.');
    return verified.event;
  }

  /** A join of a room that others of this server are in: only another server could authorise it, or knows who is banned. */
  async #receiveJoin(room: Room, join: IdentifiedPdu, answer: JoinAnswer, server: string): Promise<boolean> {
    const { gaps, imports, receiver, timers } = this.#options;
    let reception = await receiver.receive(room, join);
    if (reception.outcome === 'missing') await imports.storeOutliers(room, join.eventId, answer.events);
    if (reception.outcome === 'missing' && answer.membersOmitted) {
      const late = new AbortController();
      const timer = timers.after(MAX_COMING_MS, () => late.abort());
      const close = (): Promise<Reception | undefined> => gaps.close(room, join, server, late.signal);
      try {
        reception = (await close()) ?? reception;
        if (reception.outcome === 'missing' && room.partial !== undefined) {
          await Promise.race([room.whenFull(), timers.sleep(MAX_COMING_MS, late.signal)]);
          reception = (await close()) ?? reception;
        }
      } finally {
        timer.cancel();
        late.abort();
      }
    } else if (reception.outcome === 'missing') {
      const state = [...answer.state.values()].map(({ eventId }) => eventId).filter((id) => id !== join.eventId);
      reception = await receiver.receiveAt(room, join, state);
    }
    if (reception.outcome === 'accepted' || (reception.outcome === 'known' && room.isJoined(join.pdu.sender)))
      return true;
    throw new BadAnswerError('The join that came back does not fit into the room.');
  }

  async #knockThrough(server: string, { userId, roomId, content }: RemoteEntry): Promise<boolean> {
    const { api, outOfBand } = this.#options;
    const { links, version } = await this.#make('knock', server, { roomId, userId });
    const event = this.#options.members.complete(
      version,
      roomId,
      { sender: userId, target: userId, content: { ...content, membership: 'knock' } },
      links,
    );
    const answer = await api.sendKnock(server, { roomId, eventId: event.eventId, event: event.pdu });
    if (!answer.ok) throw new RefusalError(answer);
    // "Entries which are improperly signed or formatted SHOULD be removed by the server prior to supplying them over the Client-Server API."
    const told = { version, roomId, state: answer.state, showsDoubtful: false };
    const { shown } = await verifiedRoomState(this.#options.verifier, told);
    const state = receivedRoomState(shown, version);
    return (await outOfBand.store({ roomId, version, event, state })) !== undefined;
  }

  async #leaveThrough(server: string, room: Room, userId: string, content: JsonObject): Promise<BuiltPdu> {
    const { roomId } = room;
    const { links, version } = await this.#make('leave', server, { roomId, userId, known: room.version });
    const event = this.#options.members.complete(version, roomId, { sender: userId, target: userId, content }, links);
    const answer = await this.#options.api.sendLeave(server, { roomId, eventId: event.eventId, event: event.pdu });
    if (!answer.ok) throw new RefusalError(answer);
    return event;
  }

  /** Asks the inviter's server to turn a third-party invite into an invite of the user. */
  async #exchange({ content, roomId, thirdPartySigned, userId }: RemoteEntry): Promise<void> {
    if (thirdPartySigned === undefined) return;
    const { sender, signed } = thirdPartySigned;
    const { displayname, avatar_url: avatarUrl } = content;
    const answer = await this.#options.api.exchangeThirdPartyInvite(domainOf(sender) ?? '', roomId, {
      type: MEMBER,
      room_id: roomId,
      sender,
      state_key: userId,
      content: {
        membership: 'invite',
        ...(displayname === undefined ? {} : { displayname }),
        ...(avatarUrl === undefined ? {} : { avatar_url: avatarUrl }),
        third_party_invite: { display_name: typeof displayname === 'string' ? displayname : '', signed },
      },
    });
    if (!answer.ok) throw matrixErrorOf(answer);
  }
}

/** Milliseconds for which a transaction waits for the room that its events are of. */
const MAX_COMING_MS = 20_000;

/** Servers that are asked while a user waits for an invite to be gone. */
export const MAX_FOR_LEAVE = 3;

const isOpen = (room: Room, userId: string): boolean => {
  const membership = room.member(userId)?.membership;
  return membership === 'invite' || membership === 'knock';
};

const letsGuestsIn = ({ events, state }: JoinAnswer): boolean => {
  const told = events.get(state.get(stateMapKey(GUEST_ACCESS, ''))?.eventId ?? '');
  return told !== undefined && guestsMayJoin((JSON.parse(told.json.toString('utf8')) as Pdu).content['guest_access']);
};
