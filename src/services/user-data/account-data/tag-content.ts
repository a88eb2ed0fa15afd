import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';

/** The type of room account data that holds tags. Client-Server API, "Room Tagging". */
export const TAG_TYPE = 'm.tag';

/** Characters of an `m.tag` beside its tags: they are written again with every tag, and read with all of them. */
export const MAX_REST_LENGTH = 4_096;
/** Characters of JSON that are said of one tag: its place in the order, and what a client adds to that. */
export const MAX_TAG_LENGTH = 16_384;
/** `m.tag` without anything but tags. */
const NO_TAGS = '{"tags":{}}';

/**
 * Splits an `m.tag` that a client wrote as account data into tags, as JSON texts, and the rest. Clients may
 * write anything there: what is no tag stays in the rest.
 */
export const takeTagsOut = (content: JsonObject): { readonly tags: Map<string, string>; readonly rest: string } => {
  const { tags } = content;
  const found = new Map<string, string>();
  if (!isJsonObject(tags)) return { tags: found, rest: JSON.stringify(content) };
  const others: [string, unknown][] = [];
  for (const [tag, about] of Object.entries(tags)) {
    if (isJsonObject(about)) found.set(tag, JSON.stringify(about));
    else others.push([tag, about]);
  }
  return { tags: found, rest: JSON.stringify({ ...content, tags: Object.fromEntries(others) }) };
};

/** @throws MatrixError M_TOO_LARGE for more beside the tags than there may be */
export const assertRest = (rest: string): void => {
  if (rest.length > MAX_REST_LENGTH)
    throw new MatrixError('M_TOO_LARGE', `What m.tag has beside tags can have ${MAX_REST_LENGTH} characters at most.`);
};

/** @param about JSON text @throws MatrixError M_TOO_LARGE for more than may be said of a tag */
export const assertTag = (about: string): void => {
  if (about.length > MAX_TAG_LENGTH)
    throw new MatrixError('M_TOO_LARGE', `What is said of a tag can have ${MAX_TAG_LENGTH} characters at most.`);
};

/** The content of `m.tag` as clients are shown it, put together again. */
export const putTagsIn = (rest: string, tags: ReadonlyMap<string, string>): string => {
  if (tags.size === 0) return rest;
  const members = Array.from(tags, ([tag, about]) => `${JSON.stringify(tag)}:${about}`);
  if (rest === NO_TAGS) return `{"tags":{${members.join(',')}}}`;
  const { tags: others, ...more } = JSON.parse(rest) as JsonObject;
  if (isJsonObject(others))
    for (const [name, value] of Object.entries(others))
      if (!tags.has(name)) members.push(`${JSON.stringify(name)}:${JSON.stringify(value)}`);
  const text = JSON.stringify(more);
  return `{"tags":{${members.join(',')}}${text === '{}' ? '' : `,${text.slice(1, -1)}`}}`;
};

/** The rest of an `m.tag` to which tags are added one by one: without the last tag the content is empty. */
export const restForTags = (rest: string | undefined): string => {
  if (rest === undefined || rest === NO_TAGS) return NO_TAGS;
  const content = JSON.parse(rest) as JsonObject;
  return isJsonObject(content['tags']) ? rest : JSON.stringify({ ...content, tags: {} });
};
