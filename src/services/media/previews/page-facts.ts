import type { Parser } from 'htmlparser2';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';

/** The facts that a preview needs from a page. */
export interface PageFacts {
  /** `og:` and `twitter:` properties by their names in small letters; of one that is repeated, the first. */
  readonly properties: ReadonlyMap<string, string>;
  readonly title: string | undefined;
  readonly heading: string | undefined;
  readonly description: string | undefined;
  /** The beginning of what there is to read. */
  readonly text: string | undefined;
  /** Pictures beside those of `properties`, the best first, as they are written. */
  readonly pictures: readonly string[];
  /** Where its oEmbed document is, as it is written. */
  readonly oEmbed: string | undefined;
  /** What relative URLs start from, as it is written. */
  readonly base: string | undefined;
}

/** Bytes that are decoded and parsed in one turn of the event loop: about a millisecond. */
const SLICE = 16_384;
/** Elements after which a page has said what it has to say. */
export const MAX_ELEMENTS = 20_000;
/** Elements inside each other: the parser looks through all that are open at each closing tag. No page that people read has so many. */
const DEEPEST = 500;
const MAX_PROPERTIES = 100;
const MAX_VALUE_LENGTH = 2_048;
const MAX_TEXT_LENGTH = 500;
/** Of less there is more to read further down. */
const ENOUGH_TEXT = 300;
const LEAST_PICTURE = 100;
/** Elements whose text is not shown, or not part of the content. */
const UNREAD = new Set(
  'script style noscript template svg iframe nav header footer aside form select button textarea object canvas'.split(
    ' ',
  ),
);
const BLOCKS = new Set(
  'p div li td th blockquote article section main h1 h2 h3 h4 h5 h6 br dd dt pre figcaption'.split(' '),
);
const PROPERTY = /^(og|twitter):[a-z0-9_:-]{1,60}$/;

/**
 * Reads a page, in steps that leave the event loop to others, and no further than needed.
 *
 * @param charset as `TextDecoder` takes it
 */
export const readPage = async (bytes: Uint8Array, charset: string): Promise<PageFacts> => {
  const { Parser } = await import('htmlparser2');
  const reader = new PageReader();
  const parser: Parser = new Parser(
    {
      onopentag: (name, attributes) => reader.open(name, attributes),
      onclosetag: (name) => reader.close(name),
      ontext: (text) => reader.text(text),
    },
    { decodeEntities: true, lowerCaseTags: true, lowerCaseAttributeNames: true },
  );
  const decoder = new TextDecoder(charset);
  const loopYield = new LoopYield(SLICE);
  for (let start = 0; start < bytes.length && !reader.isDone; start += SLICE) {
    parser.write(decoder.decode(bytes.subarray(start, start + SLICE), { stream: true }));
    await loopYield.after(SLICE);
  }
  if (!reader.isDone) parser.end();
  return reader.facts();
};

/** Collects the facts while a page is parsed. */
class PageReader {
  readonly #properties = new Map<string, string>();
  readonly #pictures: { readonly url: string; readonly rank: number }[] = [];
  #title: string | undefined;
  #heading: string | undefined;
  #description: string | undefined;
  #oEmbed: string | undefined;
  #base: string | undefined;
  #read = '';
  #elements = 0;
  /** How many elements are open. */
  #depth = 0;
  /** How deep inside such elements. */
  #unread = 0;
  #within: 'title' | 'h1' | undefined;
  #isInBody = false;

  /** Whether there is nothing more to be found. */
  get isDone(): boolean {
    return (
      this.#elements >= MAX_ELEMENTS ||
      this.#depth > DEEPEST ||
      (this.#read.length >= MAX_TEXT_LENGTH && this.#pictures.length >= 10)
    );
  }

  open(name: string, attributes: Readonly<Record<string, string>>): void {
    this.#elements += 1;
    this.#depth += 1;
    if (UNREAD.has(name)) this.#unread += 1;
    if (BLOCKS.has(name)) this.#break();
    // The tag of the body may be left out.
    if (name === 'body' || BLOCKS.has(name)) this.#isInBody = true;
    if (name === 'meta') this.#meta(attributes);
    else if (name === 'link') this.#link(attributes);
    else if (name === 'base') this.#base ??= attributes['href'];
    else if (name === 'img') this.#image(attributes);
    else if (name === 'title' && this.#title === undefined && this.#unread === 0) this.#begin('title');
    else if (name === 'h1' && this.#heading === undefined) this.#begin('h1');
  }

  close(name: string): void {
    this.#depth -= 1;
    if (UNREAD.has(name) && this.#unread > 0) this.#unread -= 1;
    if (BLOCKS.has(name)) this.#break();
    if (name === this.#within) this.#within = undefined;
  }

  text(text: string): void {
    if (this.#within === 'title') this.#title = `${this.#title ?? ''}${text}`.slice(0, MAX_VALUE_LENGTH);
    else if (this.#within === 'h1') this.#heading = `${this.#heading ?? ''}${text}`.slice(0, MAX_VALUE_LENGTH);
    else if (this.#unread === 0 && this.#isInBody && this.#read.length < MAX_TEXT_LENGTH * 2)
      this.#read += text.slice(0, MAX_TEXT_LENGTH * 2);
  }

  facts(): PageFacts {
    return {
      properties: this.#properties,
      title: tidy(this.#title),
      heading: tidy(this.#heading),
      description: tidy(this.#description),
      text: beginning(this.#read),
      pictures: this.#pictures.toSorted((a, b) => b.rank - a.rank).map(({ url }) => url),
      oEmbed: this.#oEmbed,
      base: this.#base,
    };
  }

  #begin(name: 'title' | 'h1'): void {
    this.#within = name;
    if (name === 'title') this.#title = '';
    else this.#heading = '';
  }

  #break(): void {
    if (this.#read !== '' && !this.#read.endsWith('\n')) this.#read += '\n';
  }

  #meta({ content, itemprop, name, property }: Readonly<Record<string, string>>): void {
    const value = content?.trim().slice(0, MAX_VALUE_LENGTH);
    if (value === undefined || value === '') return;
    for (const key of [property, name]) {
      const known = key?.trim().toLowerCase();
      if (known === undefined) continue;
      if (known === 'description') this.#description ??= value;
      const isNew = PROPERTY.test(known) && !this.#properties.has(known);
      if (isNew && this.#properties.size < MAX_PROPERTIES) this.#properties.set(known, value);
    }
    if (itemprop?.trim().toLowerCase() === 'image') this.#picture(value, 3);
  }

  #link({ href, rel, type }: Readonly<Record<string, string>>): void {
    if (href === undefined || rel === undefined) return;
    const relations = rel.toLowerCase().split(/\s+/);
    if (relations.includes('alternate') && type?.trim().toLowerCase() === 'application/json+oembed')
      this.#oEmbed ??= href;
    else if (relations.includes('image_src')) this.#picture(href, 4);
    else if (relations.includes('apple-touch-icon')) this.#picture(href, 1);
    else if (relations.includes('icon')) this.#picture(href, 0);
  }

  #image({ height, src, width }: Readonly<Record<string, string>>): void {
    if (src === undefined || this.#unread > 0) return;
    const isSmall = [width, height].some(
      (length) => length !== undefined && Number.parseInt(length, 10) < LEAST_PICTURE,
    );
    if (!isSmall) this.#picture(src, 2);
  }

  #picture(url: string, rank: number): void {
    const isUsable = url !== '' && url.length <= MAX_VALUE_LENGTH && !url.startsWith('data:');
    if (isUsable && this.#pictures.length < 20) this.#pictures.push({ url, rank });
  }
}

const tidy = (text: string | undefined): string | undefined => {
  const tidied = text?.replace(/\s+/g, ' ').trim();
  return tidied === '' ? undefined : tidied;
};

/** The first paragraphs, until there is enough of them. Single words are menus and buttons. */
const beginning = (read: string): string | undefined => {
  let text = '';
  for (const line of read.split('\n')) {
    const paragraph = tidy(line);
    if (paragraph === undefined || (text === '' && paragraph.length < 15)) continue;
    text += `${text === '' ? '' : '\n'}${paragraph}`;
    if (text.length >= ENOUGH_TEXT) break;
  }
  return text === '' ? undefined : shortened(text, MAX_TEXT_LENGTH);
};

/** A text of at most so many UTF-16 code units; what is cut off is said by an ellipsis. */
export const shortened = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '')}…`;
