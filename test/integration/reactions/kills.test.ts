import { Readable } from 'node:stream';
import { OPERATOR } from '#src/services/audit/actor.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';
import { type KillScenario, killedAnywhere } from './kill-scenario.ts';

describe('a server that is killed between two steps', function () {
  this.timeout(180_000);
  let server: MortalServer;
  before(async () => {
    server = await MortalServer.open();
  });
  after(() => server?.close());

  const room = async (
    { services }: Life,
    creator: Requester,
    state: readonly [string, JsonObject][] = [],
    create = {},
  ): Promise<Room> =>
    services.events.createRoom({
      version: roomVersion('11')!,
      creator: creator.userId,
      createContent: { room_version: '11', ...create },
      isPublic: false,
      events: () =>
        [
          ['m.room.member', { membership: 'join' }, creator.userId] as const,
          ['m.room.power_levels', { users: { [creator.userId]: 100 }, invite: 0 }, ''] as const,
          ['m.room.join_rules', { join_rule: 'public' }, ''] as const,
          ...state.map(([type, content]) => [type, content, ''] as const),
        ].map(([type, content, stateKey]) => ({ type, content, stateKey, sender: creator.userId })),
    });
  const join = (life: Life, who: Requester, ...rooms: readonly Room[]): Promise<unknown> =>
    Promise.all(rooms.map(({ roomId }) => life.services.joins.join(who, { roomIdOrAlias: roomId })));
  const reopened = async (life: Life, { roomId }: Room): Promise<Room> => (await life.services.rooms.byId(roomId))!;
  const membership = async (life: Life, at: Room, { userId }: Requester): Promise<string | undefined> =>
    (await reopened(life, at)).member(userId)?.membership;
  const memberContent = async (life: Life, at: Room, { userId }: Requester): Promise<JsonObject | undefined> => {
    const held = await reopened(life, at);
    return (await life.services.loader.one(held, held.member(userId)?.event ?? 0))?.content;
  };
  const found = async (life: Life, searcher: Requester, term: string): Promise<readonly string[]> =>
    (await life.services.userDirectory.search(searcher.userId, { term, limit: 10 })).users.map(({ userId }) => userId);

  const promise = <Subject>(scenario: KillScenario<Subject>): void => killedAnywhere(() => server, scenario);

  promise({
    title: 'takes whoever deactivates their account out of all rooms, and leaves nothing of theirs behind',
    jobs: ['accounts.finish_deactivation', 'user_directory.list'],
    async prepare(life) {
      const [leaving, other] = [await server.user(life), await server.user(life)];
      const joined = [await room(life, other), await room(life, other)];
      await join(life, leaving, ...joined);
      const invited = await room(life, other);
      await life.services.membership.invite(other, invited.roomId, { target: leaving.userId });
      const address = { medium: 'email', address: `${leaving.userId.slice(1).replace(':', '@')}.test` };
      await life.services.accountThreepids.replace(leaving.userId, [address]);
      await life.services.profiles.set(leaving, leaving.userId, 'displayname', { displayname: 'Leaving' });
      await life.services.delayedEvents.schedule(
        { userId: leaving.userId, deviceId: 'DEVICE' },
        { roomId: joined[0]!.roomId, type: 'org.test', content: {}, delayMs: 60_000, isOlderForm: false },
      );
      return { leaving, rooms: [...joined, invited] };
    },
    act: ({ services }, { leaving }) => services.accounts.deactivate(leaving.userId, true),
    async outcome(life, { leaving, rooms }) {
      const { accountThreepids, delayedEventList, profiles } = life.services;
      const list = { status: undefined, delayIds: undefined, from: undefined };
      return {
        memberships: await Promise.all(rooms.map((one) => membership(life, one, leaving))),
        addresses: (await accountThreepids.list(leaving.userId)).length,
        scheduled: (await delayedEventList.page(leaving.userId, list)).scheduled?.length,
        name: (await profiles.profileOf(leaving.userId)).displayname ?? null,
        found: await found(life, await server.user(life), leaving.userId),
      };
    },
    done: () => ({ memberships: ['leave', 'leave', 'leave'], addresses: 0, scheduled: 0, name: null, found: [] }),
    untouched: ({ leaving }) => ({
      memberships: ['join', 'join', 'invite'],
      addresses: 1,
      scheduled: 1,
      name: 'Leaving',
      found: [leaving.userId],
    }),
  });

  promise({
    title: 'carries a changed name into all rooms of its user, and into the user directory',
    jobs: ['profiles.carry', 'user_directory.list'],
    async prepare(life) {
      const [renamed, other] = [await server.user(life), await server.user(life)];
      const rooms = [await room(life, other), await room(life, other), await room(life, other)];
      await join(life, renamed, ...rooms);
      return { renamed, other, rooms };
    },
    act: ({ services }, { renamed }) =>
      services.profiles.set(renamed, renamed.userId, 'displayname', { displayname: `New ${renamed.userId}` }),
    outcome: async (life, { renamed, other, rooms }) => ({
      names: await Promise.all(
        rooms.map(async (one) => (await memberContent(life, one, renamed))?.['displayname'] ?? null),
      ),
      found: await found(life, other, `New ${renamed.userId}`),
    }),
    done: ({ renamed, rooms }) => ({ names: rooms.map(() => `New ${renamed.userId}`), found: [renamed.userId] }),
    untouched: ({ rooms }) => ({ names: rooms.map(() => null), found: [] }),
  });

  promise({
    title: 'takes all guests out of a room that lets guests in no longer',
    jobs: ['rooms.remove_guests'],
    async prepare(life) {
      const host = await server.user(life);
      const guests = [1, 2, 3].map(() => server.user(life, { guest: true }));
      const at = await room(life, host, [['m.room.guest_access', { guest_access: 'can_join' }]]);
      for (const guest of guests) await join(life, await guest, at);
      return { host, at, guests: await Promise.all(guests) };
    },
    act: async (life, { at, host: { userId: sender } }) =>
      life.services.events.send(await reopened(life, at), {
        type: 'm.room.guest_access',
        stateKey: '',
        sender,
        content: { guest_access: 'forbidden' },
      }),
    outcome: async (life, { at, guests }) => Promise.all(guests.map((guest) => membership(life, at, guest))),
    done: () => ['leave', 'leave', 'leave'],
    untouched: () => ['join', 'join', 'join'],
  });

  promise({
    title: 'gives the successor of a room the push rules of all who were in the room',
    jobs: ['succession.copy_rules'],
    async prepare(life) {
      const users = [await server.user(life), await server.user(life), await server.user(life)];
      const old = await room(life, users[0]!);
      const successor = `!successor${old.nid}:${server.serverName}`;
      await join(life, users[1]!, old);
      await join(life, users[2]!, old);
      for (const { userId } of users)
        await life.services.pushRules.put(userId, 'room', old.roomId, { actions: [] }, {});
      return { users, old, successor };
    },
    act: async (life, { old, successor, users }) =>
      life.services.events.send(await reopened(life, old), {
        type: 'm.room.tombstone',
        stateKey: '',
        sender: users[0]!.userId,
        content: { replacement_room: successor, body: 'moved' },
      }),
    outcome: async (life, { successor, users }) =>
      Promise.all(
        users.map(async ({ userId }) =>
          (await life.services.pushRules.rulesetOf(userId)).room.some(({ rule_id: id }) => id === successor),
        ),
      ),
    done: () => [true, true, true],
    untouched: () => [false, false, false],
  });

  promise({
    title: 'gives whoever joins the successor of a room the tags and direct chats that they had in the room',
    jobs: ['succession.move_user'],
    async prepare(life) {
      const [user, other] = [await server.user(life), await server.user(life)];
      const old = await room(life, other);
      await join(life, user, old);
      await life.services.tags.set(user.userId, old.nid, 'm.favourite', {});
      await life.services.accountData.set(user.userId, 0, 'm.direct', { [other.userId]: [old.roomId] });
      const successor = await room(life, other, [], { predecessor: { room_id: old.roomId } });
      return { user, other, old, successor };
    },
    act: (life, { user, successor }) => join(life, user, successor),
    outcome: async (life, { user, other, successor }) => {
      const direct = JSON.parse((await life.services.accountData.get(user.userId, 0, 'm.direct')) ?? '{}');
      return {
        membership: (await membership(life, successor, user)) ?? null,
        tags: await life.services.tags.of(user.userId, successor.nid),
        isDirect: direct[other.userId].includes(successor.roomId),
      };
    },
    done: () => ({ membership: 'join', tags: { 'm.favourite': {} }, isDirect: true }),
    untouched: () => ({ membership: null, tags: {}, isDirect: false }),
  });

  for (const [version, bans] of [
    // More than are made with the new room.
    ['11', 101],
    ['12', 1],
  ] as const)
    promise({
      title: `leaves no room half upgraded to version ${version}`,
      jobs: ['upgrades.finish'],
      async prepare(life) {
        const { aliases, events, publicRooms } = life.services;
        const user = await server.user(life);
        const old = await room(life, user);
        const alias = `#old${old.nid}:${server.serverName}`;
        await aliases.create({ userId: user.userId }, alias, old.roomId);
        await publicRooms.setListed({ userId: user.userId, isAdmin: true }, old.roomId, true);
        const own = (type: string, content: JsonObject, stateKey = '') => ({
          type,
          content,
          stateKey,
          sender: user.userId,
        });
        await events.send(old, own('m.room.canonical_alias', { alias }));
        const spammers = Array.from({ length: bans }, (_, index) => `@spam${index}:elsewhere.test`);
        await events.sendAll(
          old,
          spammers.map((spammer) => own('m.room.member', { membership: 'ban' }, spammer)),
        );
        return { user, old, alias };
      },
      act: ({ services }, { old, user }) => services.roomUpgrade.upgrade(user.userId, old.roomId, version),
      async outcome(life, { alias, old }) {
        const before = await reopened(life, old);
        const successor = before.stateText('m.room.tombstone', 'replacement_room');
        const after = successor === undefined ? undefined : await life.services.rooms.byId(successor);
        const states = [before, after].map((one) => ({
          isThere: one !== undefined,
          isListed: one?.isPublic ?? false,
          alias: one?.stateText('m.room.canonical_alias', 'alias') === alias,
          bans: [...(one?.members.values() ?? [])].filter(({ membership: is }) => is === 'ban').length,
          quiet: one?.powerLevels().eventsDefault ?? 0,
        }));
        const leadsTo = (await life.services.aliases.lookUp(alias))?.roomId;
        return { states, leadsOn: leadsTo === successor };
      },
      done: () => ({
        states: [
          { isThere: true, isListed: false, alias: false, bans, quiet: 50 },
          { isThere: true, isListed: true, alias: true, bans, quiet: 0 },
        ],
        leadsOn: true,
      }),
      untouched: () => ({
        states: [
          { isThere: true, isListed: true, alias: true, bans, quiet: 0 },
          { isThere: false, isListed: false, alias: false, bans: 0, quiet: 0 },
        ],
        leadsOn: false,
      }),
    });

  promise({
    title: 'invites whoever owns an address by now, however early or late that became known',
    jobs: ['third_party_invites.redeem'],
    async prepare(life) {
      const [inviter, invitee] = [await server.user(life), await server.user(life)];
      const at = await room(life, inviter);
      const id = { medium: 'email', address: `${invitee.userId.slice(1).replace(':', '@')}.test` } as const;
      const invite = { ...id, idServer: server.serverName };
      await life.services.thirdPartyInvites.invite(inviter, at.roomId, invite);
      return { invitee, at, id };
    },
    act: ({ services }, { invitee, id }) => services.accountThreepids.replace(invitee.userId, [id]),
    outcome: async (life, { at, invitee }) => (await membership(life, at, invitee)) ?? null,
    done: () => 'invite',
    untouched: () => null,
  });

  promise({
    title: 'does not keep an invitation by address that was revoked',
    jobs: ['third_party_invites.revoked'],
    async prepare(life) {
      const inviter = await server.user(life);
      const at = await room(life, inviter);
      const invite = { medium: 'email', address: `${at.nid}@mail.test`, idServer: server.serverName };
      await life.services.thirdPartyInvites.invite(inviter, at.roomId, invite);
      const event = [...at.state.values()].find((slot) => slot.event.type === 'm.room.third_party_invite')!.event;
      const keys = event.content['public_keys'] as { public_key: string }[];
      return { inviter, at, token: event.stateKey!, key: keys.at(-1)!.public_key };
    },
    act: async (life, { at, inviter, token }) =>
      life.services.events.send(await reopened(life, at), {
        type: 'm.room.third_party_invite',
        stateKey: token,
        sender: inviter.userId,
        content: {},
      }),
    outcome: ({ services }, { key }) => services.inviteKeys.isEphemeralKeyValid(key),
    done: () => false,
    untouched: () => true,
  });

  promise({
    title: 'redacts the replies of a thread whose root is redacted together with them',
    jobs: ['rooms.redact_related'],
    async prepare(life) {
      const [moderator, writer] = [await server.user(life), await server.user(life)];
      const at = await room(life, moderator);
      await join(life, writer, at);
      const say = (relation?: JsonObject): Promise<string> =>
        life.services.roomSending.message(writer, {
          roomId: at.roomId,
          type: 'm.room.message',
          content: { msgtype: 'm.text', body: 'said', ...(relation === undefined ? {} : { 'm.relates_to': relation }) },
        });
      const root = await say();
      const replies: string[] = [];
      for (let n = 0; n < 3; n++) replies.push(await say({ rel_type: 'm.thread', event_id: root }));
      return { moderator, at, root, replies };
    },
    act: ({ services }, { moderator, at, root }) =>
      services.roomSending.redact(moderator, at.roomId, root, { with_rel_types: ['m.thread'] }),
    async outcome(life, { at, root, replies }) {
      const held = await reopened(life, at);
      const events = await Promise.all([root, ...replies].map((id) => life.services.events.find(held, id)));
      return events.map((event) => event?.redactedBecause !== undefined);
    },
    done: () => [true, true, true, true],
    untouched: () => [false, false, false, false],
  });

  promise({
    title: 'releases the file that a redacted message named',
    jobs: ['media.release'],
    async prepare(life) {
      const sender = await server.user(life);
      const at = await room(life, sender);
      const content = Readable.from([Buffer.from(`a file in room ${at.nid}`)]);
      const uri = await life.services.media.upload(sender.userId, {
        content,
        contentType: undefined,
        filename: undefined,
      });
      const image = {
        type: 'm.room.message',
        sender: sender.userId,
        content: { msgtype: 'm.image', body: 'x', url: uri },
      };
      const { eventId } = await life.services.events.send(at, image);
      return { sender, at, eventId, mediaId: uri.split('/').at(-1)! };
    },
    act: async (life, { at, sender, eventId }) =>
      life.services.events.redact(await reopened(life, at), sender.userId, eventId, {}),
    async outcome({ services }, { mediaId }) {
      const { media } = await services.mediaModeration.info({ serverName: server.serverName, mediaId });
      return media.releasedTs !== null;
    },
    done: () => true,
    untouched: () => false,
  });

  promise({
    title: 'makes no account without the name that its administrator wanted for it, and lists it in the user directory',
    jobs: [],
    prepare: async (life) => ({ searcher: await server.user(life), username: `named${process.hrtime.bigint()}` }),
    act: ({ services }, { username }) =>
      services.registration.registerByAdmin(
        OPERATOR,
        { username, password: 'correct horse battery', admin: false, displayName: `Named ${username}` },
        { inhibitLogin: true },
      ),
    outcome: async (life, { searcher, username }) => {
      const userId = `@${username}:${server.serverName}`;
      return {
        exists: await life.services.users.exists(userId),
        name: (await life.services.profiles.profileOf(userId)).displayname ?? null,
        found: await found(life, searcher, `Named ${username}`),
      };
    },
    done: ({ username }) => ({ exists: true, name: `Named ${username}`, found: [`@${username}:${server.serverName}`] }),
    untouched: () => ({ exists: false, name: null, found: [] }),
  });

  promise({
    title: 'tells others of the keys that a device uploaded',
    jobs: [],
    async prepare(life) {
      const { userId, session } = await life.services.registration.registerByAdmin(
        OPERATOR,
        { username: `device${process.hrtime.bigint()}`, password: 'correct horse battery', admin: false },
        {},
      );
      await life.services.deviceListChanges.idle();
      return { userId, deviceId: session?.deviceId ?? '', before: life.services.writer.committed() };
    },
    act: ({ services }, { userId, deviceId }) => {
      const keys = { [`ed25519:${deviceId}`]: 'a2V5', [`curve25519:${deviceId}`]: 'a2V5' };
      const deviceKeys = { user_id: userId, device_id: deviceId, algorithms: [], keys, signatures: {} };
      return services.deviceKeys.upload({ userId, deviceId }, { device_keys: deviceKeys });
    },
    async outcome({ services }, { userId, deviceId, before }) {
      const { device_keys: deviceKeys } = await services.keyQuery.query(userId, { [userId]: [deviceId] }, undefined);
      const told = await services.deviceListChanges.between(before, services.writer.committed());
      return {
        isStored: deviceKeys[userId]?.[deviceId] !== undefined,
        isTold: told.some((change) => change.userId === userId),
      };
    },
    done: () => ({ isStored: true, isTold: true }),
    untouched: () => ({ isStored: false, isTold: false }),
  });

  promise({
    title: 'tells others of a field of a profile that changed',
    jobs: [],
    prepare: async (life) => ({ user: await server.user(life), before: life.services.writer.committed() }),
    act: ({ services }, { user }) => services.profiles.set(user, user.userId, 'm.tz', { 'm.tz': 'Asia/Tokyo' }),
    async outcome({ services }, { user, before }) {
      const { fields } = await services.profiles.profileOf(user.userId);
      const told = await services.profileChanges.fewBetween(before, services.writer.committed());
      return {
        stored: fields['m.tz'] ?? null,
        isTold: told?.some(({ userId, field }) => userId === user.userId && field === 'm.tz'),
      };
    },
    done: () => ({ stored: 'Asia/Tokyo', isTold: true }),
    untouched: () => ({ stored: null, isTold: false }),
  });
});
