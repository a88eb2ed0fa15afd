import { membershipIn } from '#src/services/room-model/room/membership.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import { pretendedDigest, type ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ContentPlace } from '#src/protocol/content/content-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { EventDraft, Transaction } from '#src/services/events/building/event-draft.ts';
import { transactionKey } from '#src/services/events/building/transaction-ids.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { assertContent } from './content-check.ts';
import { relatedRedactionParams, relatedRedactionJobs } from './related-redactions.ts';
import type { NewTypes } from './new-types.ts';
import { guestRecheck } from '#src/services/rooms/membership/guest-rules.ts';
import { deviceless, type SendingClient } from '#src/services/accounts/sessions/requester.ts';
import type { Actor, MembershipGate } from '#src/services/rooms/membership/membership-gate.ts';
import type { RemoteMembership } from '#src/services/rooms/membership/remote-membership.ts';
import type { RoomOpenness } from '#src/services/rooms/membership/room-openness.ts';
import type { StateGrowth } from '#src/services/rooms/membership/state-growth.ts';
import { guestsForbidden, userSuspended } from '#src/services/accounts/admission/access-rules.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { UserActions } from '#src/services/accounts/users/user-actions.ts';
import type { RelationRules } from '#src/services/reading/relations/relation-rules.ts';
import type { Reader } from '#src/services/reading/client-events/client-events.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { notInRoom, type RoomAccess } from '#src/services/reading/access/room-access.ts';

/** The user who sends. A suspended user may redact their own events, and send nothing else. Client-Server API, "Account suspension". */
export type Sender = Reader & Actor & SendingClient;

/** An event to send, and its room. */
export interface SendRequest {
  readonly roomId: string;
  readonly type: string;
  readonly content: JsonObject;
  /** Milliseconds since the epoch, for those who may choose it. */
  readonly ts?: number | undefined;
  /** Milliseconds for which it is to be a sticky event (MSC4354). */
  readonly stickyDurationMs?: number | undefined;
}

/** A delayed event whose time has come. */
export interface ScheduledRequest extends SendRequest {
  readonly delayId: string;
  readonly stateKey: string | undefined;
}

/** Sends message events, state events and redactions of users. Client-Server API, "Sending events to a room". */
export class RoomSending {
  readonly #access: RoomAccess;
  readonly #events: EventService;
  readonly #aliases: AliasService;
  readonly #relations: RelationRules;
  readonly #gate: MembershipGate;
  readonly #openness: RoomOpenness;
  readonly #newTypes: NewTypes;
  readonly #growth: StateGrowth;
  readonly #serverName: string;
  readonly #actions: UserActions;
  readonly #shadowBans: ShadowBanned;
  readonly #remote: Pick<RemoteMembership, 'invite'>;
  readonly #policy: PolicyGate;

  constructor(options: {
    readonly access: RoomAccess;
    readonly events: EventService;
    readonly aliases: AliasService;
    readonly relations: RelationRules;
    readonly gate: MembershipGate;
    readonly openness: RoomOpenness;
    readonly newTypes: NewTypes;
    readonly serverName: string;
    readonly actions: UserActions;
    /** Shadow-banned users: what they send looks accepted and reaches nobody. */
    readonly shadowBans: ShadowBanned;
    readonly remote: Pick<RemoteMembership, 'invite'>;
    readonly policy: PolicyGate;
    readonly growth: StateGrowth;
  }) {
    this.#access = options.access;
    this.#events = options.events;
    this.#aliases = options.aliases;
    this.#relations = options.relations;
    this.#gate = options.gate;
    this.#openness = options.openness;
    this.#newTypes = options.newTypes;
    this.#growth = options.growth;
    this.#serverName = options.serverName;
    this.#actions = options.actions;
    this.#shadowBans = options.shadowBans;
    this.#remote = options.remote;
    this.#policy = options.policy;
  }

  /**
   * Sends a message event, at most once for each transaction id; without one, once for each call.
   *
   * @returns the event's id
   * @throws MatrixError M_FORBIDDEN, M_TOO_LARGE, M_BAD_JSON, M_DUPLICATE_ANNOTATION, M_UNKNOWN
   */
  async message(sender: Sender, request: SendRequest, txnId?: string): Promise<string> {
    const room = await this.#access.known(request.roomId);
    const txn = transactionOf(sender, sendScope(request.roomId, request.type), txnId);
    return this.#asAction(sender, await this.#message(sender, room, request, txn));
  }

  /** The event that a device has sent under a transaction id; undefined when there is none. */
  sent(
    sender: Sender,
    { roomId, type }: Pick<SendRequest, 'roomId' | 'type'>,
    txnId: string,
  ): Promise<string | undefined> {
    return this.#events.transactions.answered(transactionKey(transaction(sender, sendScope(roomId, type), txnId)));
  }

  /** The redaction that a device has sent under a transaction id; undefined when there is none. */
  redacted(sender: Sender, roomId: string, eventId: string, txnId: string): Promise<string | undefined> {
    return this.#events.transactions.answered(transactionKey(transaction(sender, redactScope(roomId, eventId), txnId)));
  }

  async #message(
    sender: Sender,
    room: Room,
    request: SendRequest & Partial<ScheduledRequest>,
    txn: Transaction | undefined,
  ): Promise<string> {
    assertInside(room, sender);
    const { type, content } = request;
    if (type === 'm.room.redaction') {
      const { redacts, ...rest } = content;
      if (typeof redacts !== 'string')
        throw new MatrixError('M_BAD_JSON', 'A redaction must name the event that it redacts in redacts.');
      return this.#redact(sender, room, redacts, rest, txn, fateOf(request));
    }
    if (sender.isSuspended === true) throw userSuspended();
    assertContent({ type, stateKey: undefined, content }, this.#placeOf(room));
    if (this.#shadowBans.has(sender.userId)) return this.#pretend(sender, room, [type, JSON.stringify(content)], txn);
    const admission = this.#newTypes.admit(sender, [request]);
    if (admission !== undefined) await admission;
    const checked = this.#policy.checksEvents ? await this.#checked(sender) : {};
    return this.#relations.sendOnce(room, { ...draft(sender, request, undefined), ...checked }, txn);
  }

  /**
   * Sets an entry of the state. What is there already is not written again.
   *
   * @returns the event's id
   * @throws MatrixError M_FORBIDDEN, M_TOO_LARGE, M_BAD_JSON, M_BAD_ALIAS, M_INVALID_PARAM, M_INVITE_BLOCKED, M_GUEST_ACCESS_FORBIDDEN,
   *   M_USER_SUSPENDED
   */
  async state(sender: Sender, request: SendRequest, stateKey: string): Promise<string> {
    const room = await this.#access.known(request.roomId);
    const silenced = await this.#silenced(sender, room, request, stateKey);
    if (typeof silenced === 'string') return silenced;
    const event = await this.#state(sender, room, silenced, stateKey);
    return this.#asAction(sender, event.eventId);
  }

  /**
   * Sends a delayed event: authorization is checked at this moment. That it was sent is written in the same commit.
   *
   * @returns the event's id, and whether it was written at all: what is in the state already is not written again
   * @throws MatrixError what `message` and `state` throw
   */
  async scheduled(
    sender: Sender,
    request: ScheduledRequest,
  ): Promise<{ readonly eventId: string; readonly isWritten: boolean }> {
    const room = await this.#access.known(request.roomId);
    if (request.stateKey === undefined) {
      const isWritten = !this.#shadowBans.has(sender.userId);
      return { eventId: await this.#message(sender, room, request, undefined), isWritten };
    }
    const silenced = await this.#silenced(sender, room, request, request.stateKey);
    if (typeof silenced === 'string') return { eventId: silenced, isWritten: false };
    const event = await this.#state(sender, room, { ...request, content: silenced.content }, request.stateKey);
    return { eventId: event.eventId, isWritten: event.delayIdFor(sender.userId) === request.delayId };
  }

  /**
   * What of a state event is sent for its sender: of a shadow-banned user only joins and leaves, without content of their own.
   *
   * @returns a made-up event id, where nothing is sent
   */
  async #silenced(sender: Sender, room: Room, request: SendRequest, stateKey: string): Promise<SendRequest | string> {
    const { content, type } = request;
    if (!this.#shadowBans.has(sender.userId)) return request;
    const membership = membershipIn(content);
    const isOwn = type === MEMBER && stateKey === sender.userId;
    const isComing = (membership === 'join' || membership === 'knock') && room.headMembership(stateKey) !== 'join';
    if (isOwn && (membership === 'leave' || isComing)) return { ...request, content: { membership } };
    assertInside(room, sender);
    if (sender.isSuspended === true) throw userSuspended();
    await this.#check(sender, room, type, stateKey, content);
    return this.#pretend(sender, room, [type, stateKey, JSON.stringify(content)], undefined);
  }

  /** The made-up event id for a shadow-banned user: the same for a request that is repeated. */
  async #pretend(sender: Sender, room: Room, what: readonly string[], txn: Transaction | undefined): Promise<string> {
    const key = txn && transactionKey(txn);
    const earlier = key === undefined ? undefined : await this.#events.transactions.answered(key);
    if (earlier !== undefined) return earlier;
    const digest = pretendedDigest(sender.userId, room.roomId, ...(key === undefined ? what : [key]));
    const isAssigned = room.version.eventIdFormat === 'assigned';
    const stored = isAssigned ? Buffer.from(`$${digest.toString('base64url')}:${this.#serverName}`) : digest;
    return eventIdText(room.version, stored);
  }

  async #state(
    sender: Sender,
    room: Room,
    request: SendRequest & Partial<ScheduledRequest>,
    stateKey: string,
  ): Promise<StoredEvent> {
    const { type } = request;
    // In a room that they are not in, users may only change their own membership.
    if (type !== MEMBER || stateKey !== sender.userId) assertInside(room, sender);
    else if (!(await this.#openness.mayKnowOf(room, sender.userId))) throw notInRoom();
    if (type !== MEMBER && sender.isSuspended === true) throw userSuspended();
    if (type === 'm.room.third_party_invite' && sender.isGuest === true) throw guestsForbidden();
    const content =
      type === MEMBER
        ? await this.#gate.admit(room, sender, { target: stateKey, content: request.content })
        : request.content;
    const stillFits = await this.#check(sender, room, type, stateKey, content);
    await this.#newTypes.admit(sender, [{ type, content }]);
    if (type === MEMBER && content['membership'] === 'invite' && !this.#events.isLocal(stateKey))
      return this.#remote.invite(room, sender.userId, stateKey, content);
    const recheck = type === MEMBER && content['membership'] === 'join' ? guestRecheck(sender) : stillFits;
    // `MembershipGate` asks about memberships.
    const checked = type === MEMBER ? {} : await this.#checked(sender);
    return this.#events.send(room, { ...draft(sender, { ...request, content }, stateKey), recheck, ...checked });
  }

  /** Applies the policy of this server to what users send, whichever way it comes. @throws PolicyRefusal; MatrixError M_LIMIT_EXCEEDED */
  async #checked({ userId }: Sender): Promise<Pick<EventDraft, 'check'>> {
    const policy = this.#policy;
    if (!policy.checksEvents) return {};
    await policy.maySend(userId);
    return policy.eventCheck === undefined ? {} : { check: policy.eventCheck };
  }

  #placeOf(room: Room): ContentPlace {
    const { roomId, version } = room;
    return { serverName: this.#serverName, roomId, version, creators: room.powerLevels().creators };
  }

  /** @returns what is to be asked once more when the event is built */
  async #check(
    sender: Sender,
    room: Room,
    type: string,
    stateKey: string,
    content: JsonObject,
  ): Promise<EventDraft['recheck']> {
    assertContent({ type, stateKey, content }, this.#placeOf(room));
    // `MembershipGate` has checked memberships. What the room refuses is not counted.
    const isAdded = type !== MEMBER && maySet(room, sender.userId, type, stateKey);
    const recheck = isAdded ? this.#growth.admit(sender, room, { type, stateKey, content }) : undefined;
    if (type === 'm.room.canonical_alias' && stateKey === '') await this.#aliases.checkCanonical(room, content);
    return recheck;
  }

  /**
   * Redacts an event, at most once for each transaction id, and soon afterwards what relates to it, if that is asked for.
   *
   * @returns the redaction's id
   * @throws MatrixError M_FORBIDDEN, M_BAD_JSON
   */
  async redact(sender: Sender, roomId: string, eventId: string, content: JsonObject, txnId?: string): Promise<string> {
    const room = await this.#access.known(roomId);
    assertInside(room, sender);
    const txn = transactionOf(sender, redactScope(roomId, eventId), txnId);
    return this.#asAction(sender, await this.#redact(sender, room, eventId, content, txn, {}));
  }

  async #redact(
    sender: Sender,
    room: Room,
    eventId: string,
    body: JsonObject,
    txn: Transaction | undefined,
    fate: ReturnType<typeof fateOf>,
  ): Promise<string> {
    const params = relatedRedactionParams(body);
    // What relates to an event is not the sender's own.
    if (sender.isSuspended === true && params.relTypes.length > 0) throw userSuspended();
    await this.#assertMayRedact(sender, room, eventId);
    if (this.#shadowBans.has(sender.userId)) return this.#pretend(sender, room, ['redaction', eventId], txn);
    const jobs = relatedRedactionJobs(room, sender.userId, eventId, params);
    return this.#events.redact(room, sender.userId, eventId, params.content, txn, {
      ...fate,
      jobs,
      ...(await this.#checked(sender)),
    });
  }

  /** Records activity of the sender, except for scheduled events. */
  #asAction({ userId, deviceId }: Sender, eventId: string): string {
    this.#actions.note(userId, deviceId);
    return eventId;
  }

  async #assertMayRedact(sender: Sender, room: Room, eventId: string): Promise<void> {
    if (sender.isSuspended !== true) return;
    const event = await this.#events.find(room, eventId);
    if (event?.sender !== sender.userId) throw userSuspended();
  }
}

/** @throws MatrixError M_FORBIDDEN, the same as for a room that does not exist */
const assertInside = (room: Room, { userId }: Sender): void => {
  if (room.headMembership(userId) !== 'join') throw notInRoom();
};

/** Whether the authorization rules allow a user to set an entry of the state, but for what depends on its content. */
const maySet = (room: Room, userId: string, type: string, stateKey: string): boolean => {
  if (type === 'm.room.aliases' && room.version.auth.aliasesBySenderDomain) return true;
  const levels = room.powerLevels();
  if (type === 'm.room.third_party_invite') return levels.userLevel(userId) >= levels.invite;
  return levels.maySend(userId, type, true) && (!stateKey.startsWith('@') || stateKey === userId);
};

const sendScope = (roomId: string, type: string): string => `send/${roomId}/${type}`;
const redactScope = (roomId: string, eventId: string): string => `redact/${roomId}/${eventId}`;

const transaction = (sender: Reader & SendingClient, scope: string, txnId: string): Transaction => ({
  userId: sender.userId,
  deviceId: sender.deviceId,
  client: deviceless(sender),
  scope,
  txnId,
});

const transactionOf = (
  sender: Reader & SendingClient,
  scope: string,
  txnId: string | undefined,
): Transaction | undefined => (txnId === undefined ? undefined : transaction(sender, scope, txnId));

const fateOf = ({
  stickyDurationMs,
  delayId,
}: SendRequest & Partial<ScheduledRequest>): Pick<EventDraft, 'delayId' | 'stickyDurationMs'> => ({
  ...(stickyDurationMs === undefined ? {} : { stickyDurationMs }),
  ...(delayId === undefined ? {} : { delayId }),
});

const draft = (
  sender: Reader,
  request: SendRequest & Partial<ScheduledRequest>,
  stateKey: string | undefined,
): EventDraft => {
  const { type, content, ts } = request;
  return {
    type,
    sender: sender.userId,
    content,
    ...(stateKey === undefined ? {} : { stateKey }),
    ...(ts === undefined ? {} : { originServerTs: ts }),
    ...fateOf(request),
  };
};
