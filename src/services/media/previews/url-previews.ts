import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import type { LRUCache } from 'lru-cache';
import type { Clock } from '#src/kernel/clock.ts';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { charsetOf } from './page-charset.ts';
import { type PageFacts, readPage } from './page-facts.ts';
import type { Fetched, FetchRefusal, PageFetcher } from './page-fetcher.ts';
import { absolute, baseOf, fieldsOf, type OEmbed, oEmbedOf, picturesOf, type PreviewFields } from './preview-fields.ts';
import type { PreviewImage, PreviewImages } from './preview-images.ts';
import type { UrlRules } from './url-rules.ts';

export interface UrlPreviewsOptions {
  readonly isEnabled: boolean;
  readonly rules: UrlRules;
  readonly fetcher: PageFetcher;
  readonly images: PreviewImages;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Bytes of a page that are read, and of its picture. */
  readonly maxPageBytes: number;
  readonly maxImageBytes: number;
  /** Pages that are looked at at once. */
  readonly concurrency: number;
  /** Milliseconds for which a preview is kept, and for which it is remembered that there is none. */
  readonly lifetimeMs: number;
  readonly failureLifetimeMs: number;
  /** Bytes of previews that are kept. */
  readonly cacheBytes: number;
}

/** The preview of a URL: `og:` properties, or why there are none. */
type Outcome = { readonly fields: PreviewFields } | { readonly refusal: FetchRefusal };

interface Kept {
  readonly outcome: Outcome;
  readonly until: number;
}

/** Requests of one user that may wait for their turn. */
export const MAX_WAITING = 50;
/** The part of the pages looked at at once that one user may have: a page may be silent until its time is over. */
const PART_OF_ONE = 1 / 4;
const PAGE = 'text/html,application/xhtml+xml;q=0.9,image/*;q=0.5,*/*;q=0.1';
/** A response without a type may be a page. */
const PAGES = /^(text\/html|application\/xhtml\+xml|)$/;
/** Pictures of a page that are tried. */
const MAX_TRIES = 3;
const OEMBED_BYTES = 65_536;

/**
 * Makes previews of URLs for clients. Client-Server API, "GET /media/preview_url". A page is fetched once for all concurrent
 * requests.
 */
export class UrlPreviews {
  readonly #options: UrlPreviewsOptions;
  readonly #kept: LRUCache<string, Kept>;
  readonly #looking = new OnceByKey<string, Outcome>();
  readonly #gate: FairGate;

  constructor(options: UrlPreviewsOptions) {
    this.#options = options;
    this.#gate = new FairGate({
      concurrency: options.concurrency,
      concurrencyOfOne: Math.ceil(options.concurrency * PART_OF_ONE),
      maxWaiting: MAX_WAITING,
    });
    this.#kept = new CountedCache('url_previews', { maxSize: options.cacheBytes, sizeCalculation: sizeOf });
  }

  /** How many pages wait to be looked at. */
  get waiting(): number {
    return this.#gate.waiting;
  }

  /** Whether this server makes previews. */
  get isEnabled(): boolean {
    return this.#options.isEnabled;
  }

  /**
   * @throws MatrixError M_UNRECOGNIZED where this is switched off, M_INVALID_PARAM for what is no URL of the web, M_FORBIDDEN for what the
   *   operator or the site does not want to be looked at, M_NOT_FOUND where there is nothing to tell, M_CONNECTION_TIMEOUT,
   *   M_LIMIT_EXCEEDED
   */
  async preview(userId: string, text: string): Promise<PreviewFields> {
    const { isEnabled, rules } = this.#options;
    if (!isEnabled) throw new MatrixError('M_UNRECOGNIZED', 'This server makes no previews of URLs.');
    const url = rules.parse(text);
    if (url === undefined)
      throw new MatrixError(
        'M_INVALID_PARAM',
        'url must be an absolute URL of the web, without user name and password.',
      );
    const outcome = this.#remembered(url.href) ?? (await this.#look(userId, url));
    if ('refusal' in outcome) throw refusalOf(outcome.refusal);
    return outcome.fields;
  }

  #remembered(href: string): Outcome | undefined {
    const kept = this.#kept.get(href);
    return kept !== undefined && kept.until > this.#options.clock.now() ? kept.outcome : undefined;
  }

  /** One fetch for all concurrent requests. A client that goes away does not cancel it for the others. */
  #look(userId: string, url: URL): Promise<Outcome> {
    return this.#looking.run(url.href, () =>
      this.#gate.run(
        { party: userId, isPreferred: false },
        async () => {
          const outcome = await this.#lookAt(url, userId);
          this.#keep(url.href, outcome);
          return outcome;
        },
        () => limitExceeded('url_previews_waiting', 2_000),
      ),
    );
  }

  #keep(href: string, outcome: Outcome): void {
    const { clock, failureLifetimeMs, lifetimeMs } = this.#options;
    // That this server is overloaded is not cached for the page.
    if ('refusal' in outcome && outcome.refusal === 'busy') return;
    this.#kept.set(href, { outcome, until: clock.now() + ('refusal' in outcome ? failureLifetimeMs : lifetimeMs) });
  }

  async #lookAt(url: URL, userId: string): Promise<Outcome> {
    const { fetcher, images, maxImageBytes, maxPageBytes } = this.#options;
    // Of what is neither page nor picture, the name is all that is told.
    const maxBytes = (type: string): number =>
      type.startsWith('image/') ? maxImageBytes : PAGES.test(type) ? maxPageBytes : 0;
    const fetched = await fetcher.fetch(url, { accept: PAGE, maxBytes, cuts: true });
    if (typeof fetched === 'string') return { refusal: fetched };
    if (fetched.type.startsWith('image/')) {
      const image = fetched.isCut ? undefined : await images.keep(fetched.bytes, userId);
      if (image === undefined) return { refusal: 'nothing' };
      return { fields: { 'og:title': nameOf(fetched.url), ...imageFields(image) } };
    }
    if (!isPage(fetched)) return { fields: isNamed(fetched.url) ? { 'og:title': nameOf(fetched.url) } : {} };
    return { fields: await this.#fieldsOf(fetched, userId) };
  }

  async #fieldsOf({ bytes, contentType, url }: Fetched, userId: string): Promise<PreviewFields> {
    const facts = await readPage(bytes, charsetOf(bytes, contentType));
    const oEmbed = await this.#oEmbedOf(facts, url);
    const fields = fieldsOf(facts, url, oEmbed);
    const image = await this.#imageOf(picturesOf(facts, url, oEmbed), userId);
    return image === undefined ? fields : { ...fields, ...imageFields(image) };
  }

  /** The page's oEmbed document, where the page itself does not say enough. */
  async #oEmbedOf(facts: PageFacts, url: URL): Promise<OEmbed | undefined> {
    const { properties } = facts;
    const href = absolute(facts.oEmbed, baseOf(facts, url));
    if (href === undefined || (properties.has('og:title') && properties.has('og:image'))) return undefined;
    const params = { accept: 'application/json', maxBytes: () => OEMBED_BYTES, cuts: false };
    const fetched = await this.#options.fetcher.fetch(new URL(href), params);
    const oEmbed = typeof fetched === 'string' ? undefined : oEmbedOf(fetched.bytes);
    if (oEmbed?.html === undefined || oEmbed.title !== undefined) return oEmbed;
    // Without a title there is the text, as of short messages.
    const { text } = await readPage(Buffer.from(`<body>${oEmbed.html}`), 'utf-8');
    return { ...oEmbed, title: text };
  }

  async #imageOf(pictures: readonly URL[], userId: string): Promise<PreviewImage | undefined> {
    const { images, logger } = this.#options;
    for (const picture of pictures.slice(0, MAX_TRIES)) {
      try {
        const image = await images.fetch(picture, userId);
        if (image !== undefined) return image;
      } catch (error) {
        // A full disk does not prevent a preview without a picture.
        if (!(error instanceof MatrixError)) throw error;
        logger.warn('the image of a URL preview could not be stored', { reason: error.message });
        return undefined;
      }
    }
    return undefined;
  }
}

const isPage = ({ bytes, type }: Fetched): boolean =>
  (PAGES.test(type) && type !== '') ||
  (type === '' && /^\s*<(!doctype html|html|head)/i.test(bytes.subarray(0, 512).toString('latin1')));

const imageFields = ({ contentType, height, size, uri, width }: PreviewImage): PreviewFields => ({
  'og:image': uri,
  'og:image:type': contentType,
  'og:image:width': width,
  'og:image:height': height,
  'matrix:image:size': size,
});

const isNamed = (url: URL): boolean => nameOf(url) !== '';

/** The last segment of a path: what a file is called. */
const nameOf = (url: URL): string => {
  const name = url.pathname.split('/').at(-1) ?? '';
  try {
    return decodeURIComponent(name).slice(0, 255);
  } catch {
    return name.slice(0, 255);
  }
};

const sizeOf = ({ outcome }: Kept, href: string): number =>
  href.length + ('fields' in outcome ? JSON.stringify(outcome.fields).length : 0) + 200;

const refusalOf = (refusal: FetchRefusal): MatrixError => {
  if (refusal === 'denied') return new MatrixError('M_FORBIDDEN', 'This server makes no previews of this URL.');
  if (refusal === 'timeout')
    return new MatrixError('M_CONNECTION_TIMEOUT', 'The server of this URL did not answer in time.');
  if (refusal === 'busy') return limitExceeded('url_previews', 5_000);
  // Whether there is such a host, and at which address, is not told: it may be inside this server's network.
  return new MatrixError('M_NOT_FOUND', 'Nothing was found there that a preview could be made of.');
};
