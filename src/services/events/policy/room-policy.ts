import { isJsonObject } from '#src/protocol/json/json-value.ts';
import { decodeBase64 } from '#src/protocol/signing/base64.ts';
import { PUBLIC_KEY_BYTES } from '#src/protocol/signing/ed25519.ts';
import type { VerifyKey } from '#src/protocol/signing/signing-key.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

const POLICY = 'm.room.policy';

/** The policy server that a room uses. */
export interface RoomPolicy {
  /** Its server name. */
  readonly via: string;
  /** By which its signatures are verified; undefined when the room names a key that is none: then no signature is valid. */
  readonly verifyKey: VerifyKey | undefined;
  /** Tells server and key apart from others. */
  readonly id: string;
}

/** Whether a room's state names a policy server, which may count or not: all that rooms without one pay for. */
export const namesPolicyServer = (room: Pick<Room, 'stateEvent'>): boolean => room.stateEvent(POLICY) !== undefined;

/**
 * The policy server that a room uses by its current state; undefined when it uses none. Server-Server API, "Determining if a Policy Server is
 * enabled in a room".
 */
export const policyOf = (room: Pick<Room, 'stateEvent' | 'hasServer'>): RoomPolicy | undefined => {
  const content = room.stateEvent(POLICY)?.content;
  if (content === undefined) return undefined;
  const { public_keys: keys, via } = content;
  const key = isJsonObject(keys) ? keys['ed25519'] : undefined;
  if (typeof via !== 'string' || typeof key !== 'string') return undefined;
  // "has at least one joined user in the room": or a room could make any server work for it.
  if (!room.hasServer(via)) return undefined;
  const bytes = decodeBase64(key);
  const verifyKey = bytes?.byteLength === PUBLIC_KEY_BYTES ? { bytes } : undefined;
  return { via, verifyKey, id: `${via} ${key}` };
};

/** "*all* events except for the `m.room.policy` state event itself are checked by that Policy Server." */
export const isExempt = (type: string, stateKey: string | undefined): boolean => type === POLICY && stateKey === '';
