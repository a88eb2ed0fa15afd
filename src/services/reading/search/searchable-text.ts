import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';

/** The keys that can be searched. Client-Server API, "Server Side Search". */
export const SEARCH_KEYS = ['content.body', 'content.name', 'content.topic'] as const;
export type SearchKey = (typeof SEARCH_KEYS)[number];

/** The type of event that has a key. */
export const TYPE_OF_KEY: Readonly<Record<SearchKey, string>> = {
  'content.body': 'm.room.message',
  'content.name': 'm.room.name',
  'content.topic': 'm.room.topic',
};

const textOf = (value: JsonValue | undefined): string => (typeof value === 'string' ? value : '');

/** The plain text of `m.topic`. Client-Server API, `m.room.topic`. */
const plainTopic = (content: JsonObject): string => {
  const block = content['m.topic'];
  const representations = isJsonObject(block) ? block['m.text'] : undefined;
  if (!Array.isArray(representations)) return '';
  const plain = representations.find(
    (one) => isJsonObject(one) && (one['mimetype'] === undefined || one['mimetype'] === 'text/plain'),
  );
  return isJsonObject(plain) ? textOf(plain['body']) : '';
};

/** The searchable text of an event; empty when there is none. */
export const searchableText = (type: string, content: JsonObject): string => {
  if (type === 'm.room.message') return textOf(content['body']);
  if (type === 'm.room.name') return textOf(content['name']);
  if (type !== 'm.room.topic') return '';
  const topic = textOf(content['topic']);
  const plain = plainTopic(content);
  return plain === topic ? topic : `${topic}\n${plain}`;
};
