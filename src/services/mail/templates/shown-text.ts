/** Control characters, and characters that change the direction of text. */
const INVISIBLE = /[\p{Cc}\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]+/gu;
/** What mail programs turn into a link. */
const LINK = /(:\/\/|\bwww\.|\b[\w-]+\.[a-z]{2,}(\/|:\d|$))/i;
/** A dot that may be in a domain. Some names have such a one too: they stay, and no link is made of what a word joiner parts. */
const DOT = /(?<=[\p{L}\p{N}])\.(?=\p{L}{2,})/gu;

const MAX_NAME_LENGTH = 80;
const MAX_LINE_LENGTH = 500;

/** Text on one line, of so many characters at most. */
const oneLine = (text: string, longest: number): string => {
  const characters = [...text.replace(INVISIBLE, ' ').replace(/\s+/g, ' ').trim()];
  return characters.length <= longest ? characters.join('') : `${characters.slice(0, longest - 1).join('')}…`;
};

/**
 * A name that another user chose (a display name, a room's name), as a mail shows it: on one line, shortened, and never a link. Mails go to
 * people who never asked for them: names must not carry advertisements to them.
 *
 * @param instead shown where the name is empty, or is a link
 */
export const shownName = (name: string | undefined, instead: string): string => {
  const shown = oneLine(name ?? '', MAX_NAME_LENGTH);
  return shown === '' || LINK.test(shown) ? oneLine(instead, 255) : shown.replace(DOT, '.\u2060');
};

/** The text of a message, as a mail shows it. */
export const shownLine = (text: string): string => oneLine(text, MAX_LINE_LENGTH);
