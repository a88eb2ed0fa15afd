import { isJsonObject } from '#src/protocol/json/json-value.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';

/**
 * The redacted copy of an event: what its signatures and its reference hash cover, and what remains of it after a redaction.
 * `unsigned` is not kept. Client-Server API, "Redactions"; room versions, "Redactions".
 */
export function redact(version: RoomVersion, event: JsonObject): JsonObject {
  const redacted: Record<string, JsonValue> = {};
  // "the server must strip off any keys not in the following list"
  for (const key of version.redaction.topLevelKeys) {
    if (Object.hasOwn(event, key)) redacted[key] = event[key] as JsonValue;
  }
  const { type, content } = event;
  redacted['content'] = isJsonObject(content) ? redactContent(version, type, content) : {};
  return redacted;
}

/** "The content object must also be stripped of all keys, unless it is one of the following event types" */
export function redactContent(version: RoomVersion, type: JsonValue | undefined, content: JsonObject): JsonObject {
  const keys = typeof type === 'string' ? version.redaction.contentKeys.get(type) : undefined;
  if (keys === undefined) return {};
  if (keys === 'all') return content;
  const redacted: Record<string, JsonValue> = {};
  for (const key of keys) if (Object.hasOwn(content, key)) redacted[key] = content[key] as JsonValue;
  // "Additionally, it allows the `signed` key of the `third_party_invite` key." Since v11.
  if (
    version.redaction.thirdPartyInviteSigned &&
    type === 'm.room.member' &&
    isJsonObject(content['third_party_invite'])
  ) {
    const { signed } = content['third_party_invite'];
    redacted['third_party_invite'] = signed === undefined ? {} : { signed };
  }
  return redacted;
}
