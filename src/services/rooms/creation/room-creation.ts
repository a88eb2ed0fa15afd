import { Gate } from '#src/kernel/limits/gate.ts';
import type { ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import { PolicyRefusal } from '#src/services/policy/callbacks/policy-refusal.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { CANONICAL_ALIAS, MEMBER } from '#src/protocol/events/event-types.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { type Actor, type MembershipGate } from '#src/services/rooms/membership/membership-gate.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { memberDraft } from '#src/services/rooms/membership/member-draft.ts';
import type { ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import type { RemoteMembership } from '#src/services/rooms/membership/remote-membership.ts';
import type {
  PreparedThirdPartyInvite,
  ThirdPartyInvites,
} from '#src/services/rooms/third-party-invites/third-party-invites.ts';
import type { Preset } from './room-presets.ts';
import {
  configOf,
  firstEvents,
  type InitialStateEvent,
  inviteesOf,
  type PlanRules,
  planRoom,
  type RoomPlan,
  type RoomRequest,
  withoutInvites,
} from './room-plan.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import type { StateGrowth } from '#src/services/rooms/membership/state-growth.ts';
import type { NewTypes } from '#src/services/rooms/sending/new-types.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

export interface RoomCreationOptions extends PlanRules {
  readonly events: EventService;
  readonly membership: MembershipService;
  readonly gate: MembershipGate;
  readonly newTypes: NewTypes;
  readonly growth: StateGrowth;
  readonly aliases: AliasService;
  readonly profiles: ProfileSource;
  readonly logger: Logger;
  readonly remote: Pick<RemoteMembership, 'invite'>;
  /** Shadow-banned users: their invites are dropped. */
  readonly shadowBans: ShadowBanned;
  /** Without it nobody can be invited by address. */
  readonly thirdPartyInvites?: ThirdPartyInvites | undefined;
  readonly policy: PolicyGate;
  /** Which rooms are encrypted if their makers say nothing about it. */
  readonly encrypts: (preset: Preset) => boolean;
}

/** Creates rooms. Client-Server API, `POST /createRoom`. */
export class RoomCreationService {
  readonly #events: EventService;
  readonly #planRules: PlanRules;
  readonly #membership: MembershipService;
  readonly #gate: MembershipGate;
  readonly #newTypes: NewTypes;
  readonly #growth: StateGrowth;
  readonly #aliases: AliasService;
  readonly #profiles: ProfileSource;
  readonly #logger: Logger;
  readonly #remote: Pick<RemoteMembership, 'invite'>;
  readonly #shadowBans: ShadowBanned;
  readonly #thirdPartyInvites: ThirdPartyInvites | undefined;
  readonly #policy: PolicyGate;
  readonly #encrypts: (preset: Preset) => boolean;

  constructor(options: RoomCreationOptions) {
    this.#events = options.events;
    this.#planRules = options;
    this.#membership = options.membership;
    this.#gate = options.gate;
    this.#newTypes = options.newTypes;
    this.#growth = options.growth;
    this.#aliases = options.aliases;
    this.#profiles = options.profiles;
    this.#remote = options.remote;
    this.#shadowBans = options.shadowBans;
    this.#logger = options.logger;
    this.#thirdPartyInvites = options.thirdPartyInvites;
    this.#policy = options.policy;
    this.#encrypts = options.encrypts;
  }

  /**
   * Creates a room with all its first events in one commit; invites beyond the first hundred follow, and so do those by address, where it
   * is not known whose address it is.
   *
   * @throws MatrixError M_UNSUPPORTED_ROOM_VERSION, M_ROOM_IN_USE, M_INVALID_ROOM_STATE when the requested state contradicts
   *   itself, M_BAD_JSON, M_INVALID_PARAM, M_BAD_ALIAS, M_EXCLUSIVE, M_INVITE_BLOCKED, M_UNKNOWN when too many are invited; what `ThirdPartyInvites` throws
   */
  async create(actor: Actor, params: RoomRequest): Promise<Room> {
    const creator = actor.userId;
    const request = this.#shadowBans.has(creator) ? withoutInvites(params) : params;
    const plan = planRoom(creator, request, this.#planRules);
    await this.#newTypes.admit(actor, plan.state);
    this.#growth.admitNew(
      actor,
      plan.state.filter(({ type }) => type !== MEMBER),
    );
    const alias = await this.#aliasOf(actor, plan);
    await this.#policy.mayCreateRoom(creator, configOf(request));
    const byAddress = await this.#prepare(actor, request);
    const members = await this.#admitMembers(actor, plan, byAddress);
    const { createContent, isPublic, version } = plan;
    const drafts = firstEvents(plan, {
      profile: await this.#profiles.profileOf(creator),
      alias,
      isEncrypted: this.#encrypts(plan.preset),
      state: members.state,
    });
    const room = await this.#make({
      version,
      creator,
      createContent,
      isPublic,
      events: () => [...drafts.map((draft) => this.#checked(draft)), ...members.local.slice(0, INVITES_AT_ONCE)],
      admit: async (roomId) => {
        for (const target of members.invited) await this.#gate.mayInvite(actor, target, roomId);
        for (const { id, userId } of byAddress)
          if (userId === undefined) await this.#policy.mayInviteByAddress(creator, id, roomId);
        if (alias !== undefined) await this.#policy.mayCreateAlias(creator, alias, roomId);
        const aliases = alias === undefined ? [] : [alias];
        if (isPublic) await this.#policy.mayPublish(creator, roomId, async () => aliases);
      },
      ...(alias === undefined ? {} : { alias }),
    });
    await this.#inviteOthers(room, actor, members, byAddress);
    return room;
  }

  async #aliasOf(actor: Actor, { request: { roomAliasName }, state }: RoomPlan): Promise<string | undefined> {
    const alias = roomAliasName === undefined ? undefined : await this.#aliases.newAlias(actor, roomAliasName);
    for (const { type, state_key: stateKey = '', content } of state)
      if (type === CANONICAL_ALIAS && stateKey === '') this.#aliases.checkFirstCanonical(content, alias);
    return alias;
  }

  /** Admits all who are invited, or are members by `initial_state`, or none. */
  async #admitMembers(
    actor: Actor,
    { creator, invitees: named, request: { isDirect }, state }: RoomPlan,
    byAddress: readonly PreparedThirdPartyInvite[],
  ): Promise<AdmittedMembers> {
    const found = byAddress.flatMap(({ userId }) => userId ?? []);
    const invitees = [...new Set([...named, ...inviteesOf(creator, found)])];
    const isNamed = new Set(named);
    const wanted = await Promise.all(
      invitees.map(async (target) => ({
        target,
        content: await this.#membership.inviteContent({ target, isDirect }),
        // Who was asked for by address was counted there.
        isCounted: !isNamed.has(target),
      })),
    );
    const members = state.filter(({ type }) => type === MEMBER);
    const given = members.map(({ state_key: target = '', content }) => ({ target, content }));
    const admitted = await this.#gate.admitAll(undefined, actor, [...wanted, ...given]);
    const invites = admitted.slice(0, wanted.length);
    const ofState = admitted.slice(wanted.length);
    const contents = new Map(members.map((event, index) => [event, ofState[index]?.content]));
    const isRemoteInvite = (event: InitialStateEvent | undefined): boolean =>
      event?.type === MEMBER &&
      membershipIn(event.content) === 'invite' &&
      !this.#events.isLocal(event.state_key ?? '');
    return {
      state: state
        .filter((event) => !isRemoteInvite(event))
        .map((event) => ({ ...event, content: contents.get(event) ?? event.content })),
      local: invites
        .filter(({ target }) => this.#events.isLocal(target))
        .map(({ target, content }) => memberDraft(creator, target, content)),
      remote: [
        ...invites.filter(({ target }) => !this.#events.isLocal(target)),
        ...ofState.filter((_, index) => isRemoteInvite(members[index])),
      ],
      invited: admitted.filter(({ content }) => membershipIn(content) === 'invite').map(({ target }) => target),
    };
  }

  /** Sends the invites that are not among the first events of the room. */
  async #inviteOthers(
    room: Room,
    actor: Actor,
    { local, remote }: AdmittedMembers,
    byAddress: readonly PreparedThirdPartyInvite[],
  ): Promise<void> {
    // Signing a thousand events in one turn would hold up every other request.
    for (let at = INVITES_AT_ONCE; at < local.length; at += INVITES_AT_ONCE)
      await this.#events.sendAll(room, local.slice(at, at + INVITES_AT_ONCE));
    // A server that does not answer, or refuses, does not prevent the room.
    const remoteAtOnce = new Gate(REMOTE_INVITES_AT_ONCE);
    await Promise.all(
      remote.map(({ target, content }) =>
        remoteAtOnce.run(() => this.#inviteRemote(room, actor.userId, target, content)),
      ),
    );
    for (const one of byAddress) {
      if (one.userId === undefined) await this.#thirdPartyInvites?.carryOut(actor, room, one);
    }
  }

  /** What the moderation tool is asked about of a new room: all but how its members come in. */
  #checked(draft: EventDraft): EventDraft {
    const check = draft.type === MEMBER ? undefined : this.#policy.eventCheck;
    return check === undefined ? draft : { ...draft, check };
  }

  async #inviteRemote(room: Room, creator: string, target: string, content: JsonObject): Promise<void> {
    try {
      await this.#remote.invite(room, creator, target, content);
    } catch (err) {
      if (!(err instanceof MatrixError)) throw err;
      this.#logger.warn('the invite of a remote user to a new room failed', {
        room_id: room.roomId,
        user_id: target,
        err,
      });
    }
  }

  async #prepare(creator: Actor, request: RoomRequest): Promise<readonly PreparedThirdPartyInvite[]> {
    const { thirdPartyInvites = [] } = request;
    if (thirdPartyInvites.length === 0) return [];
    if (this.#thirdPartyInvites === undefined)
      throw new MatrixError('M_SERVER_NOT_TRUSTED', 'Nobody can be invited by address here: invite by user id.');
    return this.#thirdPartyInvites.prepare(creator, thirdPartyInvites);
  }

  async #make(plan: Parameters<EventService['createRoom']>[0]): Promise<Room> {
    try {
      return await this.#events.createRoom(plan);
    } catch (error) {
      // Nobody forbids anything here: what was asked for cannot be, as when the creator may not set the name.
      const isOfRoom = error instanceof MatrixError && error.errcode === 'M_FORBIDDEN';
      if (!isOfRoom || error instanceof PolicyRefusal) throw error;
      throw new MatrixError('M_INVALID_ROOM_STATE', `The room cannot begin like that. ${error.message}`);
    }
  }
}

/** Who is to be a member of a new room, each with the content that may be sent. */
interface AdmittedMembers {
  /** `initial_state`, but for invites of remote users. */
  readonly state: readonly InitialStateEvent[];
  /** Invites of users of this server. */
  readonly local: readonly EventDraft[];
  /** Invites that other servers have to sign. */
  readonly remote: readonly { readonly target: string; readonly content: JsonObject }[];
  /** All who are invited. */
  readonly invited: readonly string[];
}

/** Invites that are committed together. */
const INVITES_AT_ONCE = 100;
/** Servers that are asked at the same time to sign invites of their users. */
export const REMOTE_INVITES_AT_ONCE = 5;
