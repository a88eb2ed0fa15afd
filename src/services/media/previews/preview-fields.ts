import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import { type PageFacts, shortened } from './page-facts.ts';

/** The fields of a preview without its picture: `og:` properties. Numbers where they are numbers. */
export type PreviewFields = Readonly<Record<string, string | number>>;

/** What a page's oEmbed document says. oembed.com, 2.3.4. */
export interface OEmbed {
  readonly title: string | undefined;
  readonly author: string | undefined;
  readonly site: string | undefined;
  readonly picture: string | undefined;
  /** Whether it is of a film. */
  readonly isVideo: boolean;
  /** Of rich ones: text with markup. */
  readonly html: string | undefined;
}

export const MAX_LENGTH = 1_024;
export const MAX_FIELDS = 40;
/** What is found out here, or has a form of its own. */
const OWN = /^og:(image|title|description|video:url|video:secure_url|url$)/;
const NUMBERS = /^og:.*:(width|height)$/;

/** The fields for a page with these facts. */
export const fieldsOf = (facts: PageFacts, url: URL, oEmbed?: OEmbed): PreviewFields => {
  const { properties } = facts;
  const fields: Record<string, string | number> = {};
  for (const [name, value] of properties) {
    if (!name.startsWith('og:') || OWN.test(name) || Object.keys(fields).length >= MAX_FIELDS) continue;
    const number = NUMBERS.test(name) ? Number.parseInt(value, 10) : Number.NaN;
    if (!NUMBERS.test(name)) fields[name] = shortened(value, MAX_LENGTH);
    else if (Number.isSafeInteger(number) && number >= 0) fields[name] = number;
  }
  const set = (name: string, ...values: readonly (string | undefined)[]): void => {
    const value = values.find((one) => one !== undefined && one.trim() !== '');
    if (value !== undefined) fields[name] = shortened(value.trim(), MAX_LENGTH);
  };
  set(
    'og:title',
    properties.get('og:title'),
    properties.get('twitter:title'),
    oEmbed?.title,
    facts.title,
    facts.heading,
  );
  set(
    'og:description',
    properties.get('og:description'),
    properties.get('twitter:description'),
    facts.description,
    oEmbed?.author,
    facts.text,
  );
  set('og:site_name', properties.get('og:site_name'), oEmbed?.site);
  set('og:url', absolute(properties.get('og:url'), url));
  if (oEmbed?.isVideo === true && fields['og:type'] === undefined) fields['og:type'] = 'video.other';
  return fields;
};

/** Where pictures of a page are, the best first. */
export const picturesOf = (facts: PageFacts, url: URL, oEmbed?: OEmbed): readonly URL[] => {
  const { pictures, properties } = facts;
  const names = ['og:image', 'og:image:secure_url', 'og:image:url', 'twitter:image', 'twitter:image:src'];
  const written = [...names.map((name) => properties.get(name)), oEmbed?.picture, ...pictures];
  const base = baseOf(facts, url);
  const found = written.flatMap((text) => absolute(text, base) ?? []);
  return [...new Set(found)].map((href) => new URL(href));
};

/** What relative URLs of a page start from. */
export const baseOf = ({ base }: PageFacts, url: URL): URL => {
  const href = absolute(base, url);
  return href === undefined ? url : new URL(href);
};

/** @returns undefined for what is no URL of the web */
export const absolute = (text: string | undefined, base: URL): string | undefined => {
  if (text === undefined || !URL.canParse(text, base.href)) return undefined;
  const url = new URL(text, base);
  return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : undefined;
};

/** Reads an oEmbed document; undefined for what is none. */
export const oEmbedOf = (bytes: Buffer): OEmbed | undefined => {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
  if (!isJsonObject(value)) return undefined;
  const text = (name: keyof JsonObject): string | undefined => {
    const found = value[name];
    return typeof found === 'string' && found !== '' ? found : undefined;
  };
  const type = text('type');
  return {
    title: text('title'),
    author: text('author_name'),
    site: text('provider_name'),
    picture: (type === 'photo' ? text('url') : undefined) ?? text('thumbnail_url'),
    isVideo: type === 'video',
    html: type === 'rich' ? text('html') : undefined,
  };
};
