import type { Logger } from '#src/kernel/logger.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import type { MembershipApi } from '#src/remote/federation/membership-api.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import type { Reception } from '#src/services/events/receiving/reception.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { JOINED_STATE_BYTES } from '#src/services/rooms/membership/membership-gate.ts';
import type { RemoteEntry } from '#src/services/rooms/membership/remote-membership.ts';
import type { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import type { GapCloser } from '#src/services/federation/inbound/inbound-receiving.ts';
import type { FullStates } from '#src/services/federation/partial-state/full-states.ts';
import type { JoinAnswer, JoinAnswerReader } from '#src/services/federation/room-import/join-answer-reader.ts';
import {
  type AnswerBounds,
  BadAnswerError,
  MORE_BYTES,
} from '#src/services/federation/room-import/join-answer-splitter.ts';
import type { OutOfBandMemberships } from '#src/services/federation/out-of-band/out-of-band-memberships.ts';
import type { UnjoinedRooms } from '#src/services/federation/out-of-band/unjoined-rooms.ts';
import type { AnsweredEvents } from '#src/services/federation/room-import/answered-events.ts';
import type { RoomImport } from '#src/services/federation/room-import/room-import.ts';
import { guestsMayJoin } from '#src/protocol/content/guest-access.ts';
import { guestAccessForbidden } from '#src/services/rooms/membership/guest-rules.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { GUEST_ACCESS } from '#src/protocol/events/event-types.ts';
import type { MemberEvents } from '#src/services/federation/handshakes/member-events.ts';
import { membershipTemplate, RefusalError } from './server-attempts.ts';
import { isOpen, type RemoteLeaves } from './remote-leaves.ts';

export interface RemoteJoinsOptions {
  readonly api: MembershipApi;
  readonly verifier: EventVerifier;
  readonly rooms: RoomRegistry;
  readonly receiver: EventReceiver;
  readonly unjoinedRooms: UnjoinedRooms;
  readonly outOfBand: OutOfBandMemberships;
  readonly answered: AnsweredEvents;
  readonly imports: RoomImport;
  readonly leaves: RemoteLeaves;
  readonly members: MemberEvents;
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

/** Joins rooms through one server that is in them, and imports them from its answer. Server-Server API, "Joining Rooms". */
export class RemoteJoins {
  readonly #options: RemoteJoinsOptions;
  /** Rooms whose join was accepted by another server, while they are imported. */
  readonly #coming = new Map<string, Promise<void>>();

  constructor(options: RemoteJoinsOptions) {
    this.#options = options;
  }

  /** Resolves when the running join of a room ends, or takes too long; undefined when there is none. */
  coming(roomId: string): Promise<void> | undefined {
    const join = this.#coming.get(roomId);
    if (join === undefined) return undefined;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = this.#options.timers.after(MAX_COMING_MS, resolve);
    return Promise.race([join, late]).finally(() => timer.cancel());
  }

  /** @returns false when a user of this server came into the room meanwhile */
  async through(
    server: string,
    { userId, roomId, content, isGuest = false }: RemoteEntry,
    known: RoomVersion | undefined,
  ): Promise<boolean> {
    if (this.#options.answers.isPaused({ server, roomId, request: 'send_join' }))
      throw new BadAnswerError('What it told before was long and of no use: try again later.');
    const template = await membershipTemplate(this.#options.api, 'join', server, { roomId, userId, known });
    const named = template.version.auth.restrictedJoins
      ? template.content['join_authorised_via_users_server']
      : undefined;
    const authorising = isUserId(named) ? named : undefined;
    const built = this.#options.members.complete(
      template.version,
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
      template.links,
    );
    const { promise: isOver, resolve } = Promise.withResolvers<void>();
    this.#coming.set(roomId, isOver);
    try {
      const isAuthorised = authorising !== undefined;
      return await this.#sendJoin(server, { roomId, version: template.version, built, isAuthorised, isGuest });
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
    if (isGuest && !answerLetsGuestsIn(answer)) {
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
      const event = await this.#options.leaves.through(server, room, userId, { membership: 'leave' });
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
    const { answered, gaps, receiver, timers } = this.#options;
    let reception = await receiver.receive(room, join);
    if (reception.outcome === 'missing') await answered.store(room, join.eventId, answer.events);
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
}

/** Milliseconds for which a transaction waits for the room that its events are of. */
const MAX_COMING_MS = 20_000;

const answerLetsGuestsIn = ({ events, state }: JoinAnswer): boolean => {
  const event = events.get(state.get(stateMapKey(GUEST_ACCESS, ''))?.eventId ?? '');
  return event !== undefined && guestsMayJoin((JSON.parse(event.json.toString('utf8')) as Pdu).content['guest_access']);
};
