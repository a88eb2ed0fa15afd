import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { uploadMedia } from '#test/support/media.ts';

/** How an endpoint is called so that it changes something, and by which action the audit log tells of it. */
export interface AuditedRequest {
  /** With everything that its path needs. */
  readonly path: string;
  readonly body?: object;
  /** `noun.verb` */
  readonly action: string;
  /** What must stand nowhere in the log. */
  readonly secrets?: readonly string[];
}

type Prepare = (server: InProcessServer) => Promise<AuditedRequest>;

/** A user whom nobody else in these tests uses. */
let users = 0;
const userOf = async (server: InProcessServer): Promise<string> => {
  const name = `subject${(users += 1)}`;
  await server.account(name);
  return `@${name}:${server.serverName}`;
};

const TOKENS = '/_synapse/admin/v1/registration_tokens';
const registrationToken = async (server: InProcessServer, token: string): Promise<string> => {
  await server.must('admin-root', 'POST', `${TOKENS}/new`, { token });
  return token;
};

const PASSWORD = 'a password that nobody may read';

/** What is done to an account that is made for it. */
const toUser =
  (path: (userId: string) => string, action: string, more: Partial<AuditedRequest> = {}): Prepare =>
  async (server) => ({ path: path(await userOf(server)), action, ...more });
const v1 =
  (what: string) =>
  (userId: string): string =>
    `/_synapse/admin/v1/users/${userId}/${what}`;
const v2 =
  (what: string) =>
  (userId: string): string =>
    `/_synapse/admin/v2/users/${userId}${what}`;
/** What is done to a device of an account. */
const toDevice =
  (method: string, action: string, body?: object): Prepare =>
  async (server) => {
    const userId = await userOf(server);
    const { deviceId } = await server.session(userId.slice(1, userId.indexOf(':')));
    const path = method === 'delete_devices' ? `/delete_devices` : `/devices/${deviceId}`;
    const sent = method === 'delete_devices' ? { devices: [deviceId] } : body;
    return { path: v2(path)(userId), action, ...(sent === undefined ? {} : { body: sent }) };
  };

const UPDATES = '/_synapse/admin/v1/background_updates';
const APPSERVICES = '/_tsudoi/admin/v1/appservices';
let bridges = 0;
/** A registration that is in nobody's way, with secrets of its own. */
const bridge = (): ReturnType<typeof registrationOf> => registrationOf(`bridge${(bridges += 1)}`);
const secretsOf = ({ as_token: ours, hs_token: theirs }: ReturnType<typeof registrationOf>): string[] => [ours, theirs];

const OF_APPSERVICES: Readonly<Record<string, Prepare>> = {
  addAppservice: async () => {
    const body = bridge();
    return { path: APPSERVICES, body, action: 'appservice.add', secrets: secretsOf(body) };
  },
  replaceAppservice: async (server) => {
    const body = bridge();
    await server.must('admin-root', 'POST', APPSERVICES, { ...body, as_token: 'the_one_before' });
    return {
      path: `${APPSERVICES}/${body.id}`,
      body,
      action: 'appservice.replace',
      secrets: [...secretsOf(body), 'the_one_before'],
    };
  },
  removeAppservice: async (server) => {
    const body = bridge();
    await server.must('admin-root', 'POST', APPSERVICES, body);
    return { path: `${APPSERVICES}/${body.id}`, action: 'appservice.remove', secrets: secretsOf(body) };
  },
  reloadAppservices: async () => ({ path: '/_tsudoi/admin/v1/reload_appservices', action: 'appservice.reload' }),
};

const USERS: Readonly<Record<string, Prepare>> = {
  adminPutUser: toUser(v2(''), 'user.change', { body: { password: PASSWORD, displayname: 'X' }, secrets: [PASSWORD] }),
  adminSetUserAdmin: toUser(v1('admin'), 'user.promote', { body: { admin: true } }),
  adminDeactivateUser: toUser((userId) => `/_synapse/admin/v1/deactivate/${userId}`, 'user.deactivate', { body: {} }),
  adminSuspendUser: toUser((userId) => `/_synapse/admin/v1/suspend/${userId}`, 'user.suspend', {
    body: { suspend: true },
  }),
  adminShadowBanUser: toUser(v1('shadow_ban'), 'user.shadow_ban'),
  adminShadowUnbanUser: async (server) => {
    const path = v1('shadow_ban')(await userOf(server));
    await server.must('admin-root', 'POST', path);
    return { path, action: 'user.shadow_unban' };
  },
  adminResetPassword: toUser((userId) => `/_synapse/admin/v1/reset_password/${userId}`, 'user.reset_password', {
    body: { new_password: PASSWORD },
    secrets: [PASSWORD],
  }),
  adminLogInAsUser: toUser(v1('login'), 'user.login_as', { body: {} }),
  endAdminLogin: async (server) => {
    const userId = await userOf(server);
    await server.must('admin-root', 'POST', v1('login')(userId), {});
    const path = `/_tsudoi/admin/v1/users/${userId}/logins`;
    const { logins } = await server.must('admin-root', 'GET', path);
    return { path: `${path}/${logins[0].id}`, action: 'user.end_login_as' };
  },
  adminSetRateLimit: toUser(v1('override_ratelimit'), 'user.override_ratelimit', { body: { messages_per_second: 0 } }),
  adminDeleteRateLimit: async (server) => {
    const path = v1('override_ratelimit')(await userOf(server));
    await server.must('admin-root', 'POST', path, { messages_per_second: 0 });
    return { path, action: 'user.default_ratelimit' };
  },
  adminAllowKeyReplacement: async (server) => {
    const userId = await userOf(server);
    const key = Buffer.alloc(32, 7).toString('base64').replace(/=+$/, '');
    const master = { user_id: userId, usage: ['master'], keys: { [`ed25519:${key}`]: key } };
    await server.must(userId.slice(1, userId.indexOf(':')), 'POST', '/keys/device_signing/upload', {
      master_key: master,
    });
    return { path: v1('_allow_cross_signing_replacement_without_uia')(userId), action: 'user.allow_key_replacement' };
  },
  adminRenewAccount: async (server) => ({
    path: '/_synapse/admin/v1/account_validity/validity',
    body: { user_id: await userOf(server), expiration_ts: 4_000_000_000_000 },
    action: 'user.set_validity',
  }),
  adminRedactUserEvents: toUser((userId) => `/_synapse/admin/v1/user/${userId}/redact`, 'user.redact', {
    body: { rooms: [] },
  }),
  eraseUser: toUser((userId) => `/_tsudoi/admin/v1/users/${userId}/erase`, 'user.erase', { body: {} }),
  exportUser: toUser((userId) => `/_tsudoi/admin/v1/users/${userId}/exports`, 'user.export', { body: {} }),
  deleteExport: async (server) => {
    const path = `/_tsudoi/admin/v1/users/${await userOf(server)}/exports`;
    const { export_id: id } = await server.must('admin-root', 'POST', path, {});
    await server.idle();
    return { path: `${path}/${id}`, action: 'user.delete_export' };
  },
  adminCreateDevice: toUser(v2('/devices'), 'device.create', { body: { device_id: 'NEW' } }),
  adminDeleteDevices: toDevice('delete_devices', 'device.delete'),
  adminUpdateDevice: toDevice('PUT', 'device.rename', { display_name: 'Named' }),
  adminDeleteDevice: toDevice('DELETE', 'device.delete'),
  setAdminLockUser: toUser((userId) => `/_matrix/client/v1/admin/lock/${userId}`, 'user.lock', {
    body: { locked: true },
  }),
  setAdminSuspendUser: toUser((userId) => `/_matrix/client/v1/admin/suspend/${userId}`, 'user.suspend', {
    body: { suspended: true },
  }),
};

const V1 = '/_synapse/admin/v1';
const LONG_AGO = 'before_ts=40000000000';
/** What is done to a file that is uploaded for it. */
const toFile =
  (path: (mediaId: string, server: InProcessServer) => string, action: string): Prepare =>
  async (server) => {
    const uri = await uploadMedia(server, 'uploader', `a file for ${action}`);
    return { path: `${V1}/${path(uri.split('/').at(-1) ?? '', server)}`, action };
  };

const MEDIA: Readonly<Record<string, Prepare>> = {
  adminSetBackgroundUpdatesEnabled: () =>
    Promise.resolve({ path: `${UPDATES}/enabled`, body: { enabled: true }, action: 'background_updates.enable' }),
  adminStartBackgroundUpdate: () =>
    Promise.resolve({
      path: `${UPDATES}/start_job`,
      body: { job_name: 'regenerate_directory' },
      action: 'background_updates.start',
    }),
  adminQuarantineMedia: toFile((id, { serverName }) => `media/quarantine/${serverName}/${id}`, 'media.quarantine'),
  adminUnquarantineMedia: toFile(
    (id, { serverName }) => `media/unquarantine/${serverName}/${id}`,
    'media.unquarantine',
  ),
  adminProtectMedia: toFile((id) => `media/protect/${id}`, 'media.protect'),
  adminUnprotectMedia: toFile((id) => `media/unprotect/${id}`, 'media.unprotect'),
  adminDeleteMedia: toFile((id, { serverName }) => `media/${serverName}/${id}`, 'media.delete'),
  adminDeleteUserMedia: toUser(v1('media'), 'media.delete_of_user'),
  adminQuarantineUserMedia: toUser((userId) => `${V1}/user/${userId}/media/quarantine`, 'media.quarantine_user'),
  adminQuarantineRoomMedia: async (server) => ({
    path: `${V1}/room/${await server.room('alice')}/media/quarantine`,
    action: 'media.quarantine_room',
  }),
  adminDeleteOldMedia: async () => ({ path: `${V1}/media/delete?${LONG_AGO}`, action: 'media.delete_old' }),
  adminDeleteOldMediaOf: async ({ serverName }) => ({
    path: `${V1}/media/${serverName}/delete?${LONG_AGO}`,
    action: 'media.delete_old',
  }),
  adminPurgeMediaCache: async () => ({ path: `${V1}/purge_media_cache?${LONG_AGO}`, action: 'media.purge_remote' }),
};

/** What is done to a report of a user that is made for it. */
const toReport =
  (root: string, action: string, kind: 'event' | 'user', body?: object): Prepare =>
  async (server) => {
    if (kind === 'user') {
      await server.must('bob', 'POST', `/users/${await userOf(server)}/report`, { reason: 'spam' });
    } else {
      const roomId = await server.room('alice');
      const eventId = await server.say('alice', roomId, 'reported');
      await server.must('alice', 'POST', `/rooms/${roomId}/report/${eventId}`, { reason: 'spam' });
    }
    const { reports } = await server.must('admin-root', 'GET', '/_tsudoi/admin/v1/reports?limit=1');
    return { path: `${root}/${reports[0].id}`, action, ...(body === undefined ? {} : { body }) };
  };

const REPORTS: Readonly<Record<string, Prepare>> = {
  adminDeleteEventReport: toReport('/_synapse/admin/v1/event_reports', 'report.delete', 'event'),
  adminDeleteUserReport: toReport('/_synapse/admin/v1/user_reports', 'report.delete', 'user'),
  adminDeleteReport: toReport('/_tsudoi/admin/v1/reports', 'report.delete', 'user'),
  adminSetReportState: toReport('/_tsudoi/admin/v1/reports', 'report.resolve', 'user', {
    state: 'resolved',
    note: 'warned',
  }),
};

/**
 * Every endpoint of administrators that is not GET, by its operationId: a new one is a line here. What it needs is prepared first, by
 * other requests or by the services.
 */
export const AUDITED: Readonly<Record<string, Prepare>> = {
  ...OF_APPSERVICES,
  adminCreateRegistrationToken: async () => ({
    path: `${TOKENS}/new`,
    body: { token: 'audited-new' },
    action: 'registration_token.create',
  }),
  adminChangeRegistrationToken: async (server) => ({
    path: `${TOKENS}/${await registrationToken(server, 'audited-change')}`,
    body: { uses_allowed: 3 },
    action: 'registration_token.change',
  }),
  adminDeleteRegistrationToken: async (server) => ({
    path: `${TOKENS}/${await registrationToken(server, 'audited-delete')}`,
    action: 'registration_token.delete',
  }),
  ...REPORTS,
  adminSendServerNotice: async (server) => ({
    path: '/_synapse/admin/v1/send_server_notice',
    body: { user_id: await userOf(server), content: { msgtype: 'm.text', body: 'between us' } },
    action: 'server_notice.send',
    secrets: ['between us'],
  }),
  adminSendServerNoticeOnce: async (server) => ({
    path: '/_synapse/admin/v1/send_server_notice/once',
    body: { user_id: await userOf(server), content: { msgtype: 'm.text', body: 'between us' } },
    action: 'server_notice.send',
  }),
  adminSendAnnouncement: async () => ({
    path: '/_tsudoi/admin/v1/announcements',
    body: { content: { msgtype: 'm.text', body: 'to all' } },
    action: 'announcement.send',
  }),
  adminResetDestinationConnection: async (server) => {
    server.services.backoff.failed('away.test');
    await server.idle();
    return {
      path: '/_synapse/admin/v1/federation/destinations/away.test/reset_connection',
      action: 'destination.reset_connection',
    };
  },
  adminCancelTask: async (server) => {
    const { adminTasks, database } = server.services;
    const id = await database.write((tx) =>
      adminTasks.start(tx, { userId: null, via: 'cli' }, WAITS, { params: {}, entry: { action: 'test.wait' } }),
    );
    return { path: `/_tsudoi/admin/v1/tasks/${id}/cancel`, action: 'task.cancel' };
  },
  ...USERS,
  ...MEDIA,
  adminDeleteRoom: async (server) => ({
    path: `/_synapse/admin/v2/rooms/${await server.room('alice')}`,
    body: {},
    action: 'room.delete',
  }),
  adminDeleteRoomNow: async (server) => ({
    path: `/_synapse/admin/v1/rooms/${await server.room('alice')}`,
    body: {},
    action: 'room.delete',
  }),
  adminPurgeHistory: async (server) => ({
    path: `/_synapse/admin/v1/purge_history/${await server.room('alice')}`,
    body: { purge_up_to_ts: server.clock.now() + 1 },
    action: 'room.purge_history',
  }),
  adminPurgeHistoryBefore: async (server) => {
    const roomId = await server.room('alice');
    const eventId = await server.say('alice', roomId, 'the first that stays');
    return {
      path: `/_synapse/admin/v1/purge_history/${roomId}/${encodeURIComponent(eventId)}`,
      body: {},
      action: 'room.purge_history',
    };
  },
  adminMakeRoomAdmin: async (server) => ({
    path: `/_synapse/admin/v1/rooms/${await server.room('alice')}/make_room_admin`,
    body: { user_id: await userOf(server) },
    action: 'room.make_admin',
  }),
  adminJoinRoom: async (server) => ({
    path: `/_synapse/admin/v1/join/${await server.room('alice', { preset: 'public_chat' })}`,
    body: { user_id: await userOf(server) },
    action: 'room.join',
  }),
  adminDeleteForwardExtremities: async (server) => ({
    path: `/_synapse/admin/v1/rooms/${await server.room('alice')}/forward_extremities`,
    action: 'room.merge_extremities',
  }),
  adminSetRoomBlock: async (server) => ({
    path: `/_synapse/admin/v1/rooms/${await server.room('alice')}/block`,
    body: { block: true },
    action: 'room.block',
  }),
};

/** A task that lasts until it is cancelled. */
export const WAITS = {
  action: 'wait_until_cancelled',
  run: async (_task: unknown, { signal }: { readonly signal: AbortSignal }): Promise<'interrupted'> => {
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    return 'interrupted';
  },
};

/** Those that change nothing, each with the reason why they are not GET. */
export const CHANGES_NOTHING: Readonly<Record<string, string>> = {
  adminSetFeatures: 'all features are on for everybody: it only refuses what cannot be',
};

/** Those that leave no entry so far. */
export const WITHOUT_ENTRY: readonly string[] = [];
