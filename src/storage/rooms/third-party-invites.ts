import { type Database, sql, type Tx } from '../database.ts';
import type { AddressKey } from '../accounts/account-threepids.ts';

/** An invitation by address (third-party invite). */
export interface ThirdPartyInviteRecord extends AddressKey {
  /** State key of its `m.room.third_party_invite`. */
  readonly token: string;
  readonly roomId: string;
  readonly inviter: string;
  /** Unpadded base64. */
  readonly ephemeralKey: string;
  /** Whether its event is known to be in the room. */
  readonly sent: boolean;
  /** The local user to whom the address was bound. */
  readonly claimedBy: string | null;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
}

const COLUMNS = `token, medium, address, room_id as "roomId", inviter, ephemeral_key as "ephemeralKey", sent,
  claimed_by as "claimedBy", created_ts as "createdTs"`;

const INSERT = sql(
  'third_party_invite_insert',
  `insert into third_party_invites (token, medium, address, room_id, inviter, ephemeral_key, created_ts)
   values ($1, $2, $3, $4, $5, $6, $7)`,
);
const SENT = sql(
  'third_party_invite_sent',
  'update third_party_invites set sent = true where token = $1 and room_id = $2 returning claimed_by as "claimedBy"',
);
const FIND = sql('third_party_invite_find', `select ${COLUMNS} from third_party_invites where token = $1`);
const WAITING = sql(
  'third_party_invite_waiting',
  `select token from third_party_invites
   where medium = $1 and address = $2 and room_id = $3 and inviter = $4 and sent and claimed_by is null`,
);
const CLAIM = sql(
  'third_party_invites_claim',
  `update third_party_invites set claimed_by = $3 where medium = $1 and address = $2 and claimed_by is null returning token`,
);
const DELETE = sql('third_party_invite_delete', 'delete from third_party_invites where token = $1');
const REVOKE = sql('third_party_invite_revoke', 'delete from third_party_invites where token = $1 and room_id = $2');
const DELETE_OF = sql('third_party_invites_delete_of', 'delete from third_party_invites where inviter = $1');
const CLEAN = sql(
  'third_party_invites_clean',
  `delete from third_party_invites where token = any(array(
     select token from third_party_invites where claimed_by is null and created_ts < $1 limit $2
   )) and claimed_by is null returning 1`,
);
const HAS_KEY = sql('third_party_invite_has_key', 'select 1 from third_party_invites where ephemeral_key = $1');

export const insertThirdPartyInvite = async (
  tx: Tx,
  invite: Omit<ThirdPartyInviteRecord, 'sent' | 'claimedBy'>,
): Promise<void> => {
  const { token, medium, address, roomId, inviter, ephemeralKey, createdTs } = invite;
  await tx.query(INSERT, [token, medium, address, roomId, inviter, ephemeralKey, createdTs]);
};

/** Notes that the event is in this room. @returns the user who has claimed the invitation meanwhile */
export const markThirdPartyInviteSent = async (tx: Tx, token: string, roomId: string): Promise<string | undefined> =>
  (await tx.query<{ claimedBy: string | null }>(SENT, [token, roomId]))[0]?.claimedBy ?? undefined;

export const findThirdPartyInvite = async (
  database: Database,
  token: string,
): Promise<ThirdPartyInviteRecord | undefined> => (await database.query<ThirdPartyInviteRecord>(FIND, [token]))[0];

/** Tokens of the invitations of the same person by the same inviter into the same room that were not claimed yet. */
export const waitingThirdPartyInvites = async (
  tx: Tx,
  { medium, address }: AddressKey,
  roomId: string,
  inviter: string,
): Promise<string[]> =>
  (await tx.query<{ token: string }>(WAITING, [medium, address, roomId, inviter])).map(({ token }) => token);

/** Gives all invitations of an address to a user; returns their tokens. */
export const claimThirdPartyInvites = async (
  tx: Tx,
  { medium, address }: AddressKey,
  userId: string,
): Promise<string[]> => (await tx.query<{ token: string }>(CLAIM, [medium, address, userId])).map(({ token }) => token);

export const deleteThirdPartyInvite = async (database: Database, token: string): Promise<void> => {
  await database.query(DELETE, [token]);
};

/** Deletes an invitation into this room; what has the token in another room is not it. */
export const revokeThirdPartyInvite = async (database: Database, token: string, roomId: string): Promise<void> => {
  await database.query(REVOKE, [token, roomId]);
};

/** Deletes all invitations by a user. */
export const deleteThirdPartyInvitesOf = async (tx: Tx, inviter: string): Promise<void> => {
  await tx.query(DELETE_OF, [inviter]);
};

/** Deletes up to `limit` invitations from before a time (milliseconds since the epoch) that were not claimed. @returns how many */
export const deleteUnclaimedInvites = async (database: Database, before: number, limit: number): Promise<number> =>
  (await database.query(CLEAN, [before, limit])).length;

/** Whether an invitation that still stands was published with this key. */
export const isEphemeralInviteKey = async (database: Database, key: string): Promise<boolean> =>
  (await database.query(HAS_KEY, [key])).length > 0;
