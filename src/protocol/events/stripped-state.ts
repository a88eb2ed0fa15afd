import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Pdu } from './pdu.ts';

/** A state event as the invited, the knocking and the curious see it. Client-Server API, "Stripped state". */
export interface StrippedStateEvent extends JsonObject {
  readonly type: string;
  readonly state_key: string;
  readonly sender: string;
  readonly content: JsonObject;
}

/** The types of state (all with the empty state key) that stripped state consists of. `m.room.create` is required. */
export const STRIPPED_STATE_TYPES = [
  'm.room.create',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.join_rules',
  'm.room.canonical_alias',
  'm.room.encryption',
] as const;

/** "Stripped state events can only have the `sender`, `type`, `state_key` and `content` properties present." */
export function strippedState(
  event: Pick<Pdu, 'type' | 'sender' | 'content'> & { readonly state_key?: string },
): StrippedStateEvent {
  return { type: event.type, state_key: event.state_key ?? '', sender: event.sender, content: event.content };
}
