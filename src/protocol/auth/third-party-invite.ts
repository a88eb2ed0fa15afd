import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { canonicalJsonModeOf } from '#src/protocol/events/event-hashes.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { signaturesOf, signedText, verifyText } from '#src/protocol/signing/json-signatures.ts';
import { importVerifyKey } from '#src/protocol/signing/signing-key.ts';
import { ALLOW, reject } from './verdict.ts';
import type { AuthVerdict, StateAccess } from './verdict.ts';

/**
 * Signatures times keys that are tried at most. Real invites have one or two of each; an event of 64 KiB could hold hundreds of
 * both, and keep a core busy for half a minute.
 */
const MAX_ATTEMPTS = 256;

/**
 * The rules "If membership is invite: If content has a third_party_invite property". Since v1.
 *
 * @param targetMembership the present membership of the target user
 */
export function checkThirdPartyInvite(
  version: RoomVersion,
  event: Pdu,
  targetMembership: string,
  state: StateAccess,
): AuthVerdict {
  const invite = event.content['third_party_invite'];
  // "If target user is banned, reject."
  if (targetMembership === 'ban') return reject('the target of the third-party invite is banned');
  // "If content.third_party_invite does not have a signed property, reject."
  const signed = isJsonObject(invite) ? invite['signed'] : undefined;
  if (!isJsonObject(signed)) return reject('third_party_invite has no signed object');
  // "If signed does not have mxid and token properties, reject."
  const { mxid, token } = signed;
  if (typeof mxid !== 'string' || typeof token !== 'string')
    return reject('third_party_invite.signed has no mxid and token');
  // "If mxid does not match state_key, reject."
  if (mxid !== event.state_key) return reject('the third-party invite was signed for another user');
  // "If there is no m.room.third_party_invite event in the current room state with state_key matching token, reject."
  const original = state('m.room.third_party_invite', token);
  if (original === undefined) return reject('there is no m.room.third_party_invite with the token of the invite');
  // "If sender does not match sender of the m.room.third_party_invite, reject."
  if (event.sender !== original.pdu.sender) return reject('the third-party invite was made by another user');
  // "If any signature in signed matches any public key in the m.room.third_party_invite event, allow."
  return isSigned(version, signed, original) ? ALLOW : reject('no key of m.room.third_party_invite signed the invite');
}

/** "A single public key in the public_key property. A list of public keys in the public_keys property." */
function publicKeysOf(original: IdentifiedPdu): readonly string[] {
  const { public_key: single, public_keys: list } = original.pdu.content;
  const candidates: (JsonValue | undefined)[] = [single];
  if (Array.isArray(list)) for (const entry of list) if (isJsonObject(entry)) candidates.push(entry['public_key']);
  return [...new Set(candidates.filter((key) => typeof key === 'string'))];
}

function isSigned(version: RoomVersion, signed: JsonObject, original: IdentifiedPdu): boolean {
  const { signatures } = signed;
  if (!isJsonObject(signatures)) return false;
  const text = signedText(signed, canonicalJsonModeOf(version));
  let attempts = 0;
  for (const publicKey of publicKeysOf(original)) {
    // Identity servers publish keys in both alphabets of base64.
    const verifyKey = importVerifyKey(publicKey.replaceAll('-', '+').replaceAll('_', '/'));
    if (verifyKey === undefined) continue;
    for (const entity of Object.keys(signatures)) {
      for (const signature of signaturesOf(signed, entity).values()) {
        if (attempts++ >= MAX_ATTEMPTS) return false;
        if (verifyText(text, signature, verifyKey)) return true;
      }
    }
  }
  return false;
}
