import { escapeHtml } from '#src/kernel/text/html.ts';
import { acceptedLanguage, type Language } from '#src/kernel/text/language.ts';
import { cspHash } from '#src/kernel/text/csp-hash.ts';
import { Reply } from '../middleware/reply.ts';

export { escapeHtml } from '#src/kernel/text/html.ts';
export type { Language } from '#src/kernel/text/language.ts';

/** A sentence in each language. */
export type Translated = Readonly<Record<Language, string>>;

/** The language for a browser by its `Accept-Language`: the preferred one, English when it names neither. */
export const languageOf = (acceptLanguage: string | undefined): Language => acceptedLanguage(acceptLanguage) ?? 'en';

/** The sentences of a page in one language, by their names. */
export const textsOf =
  <Name extends string>(texts: Readonly<Record<Name, Translated>>, language: Language): ((name: Name) => string) =>
  (name) =>
    texts[name][language];

const STYLE = `
:root{color-scheme:light dark;--paper:#fbfaf7;--ink:#23211d;--soft:#6d685f;--line:#cfc9bd;--mark:#a3481f;--on:#fff}
@media(prefers-color-scheme:dark){:root{--paper:#191816;--ink:#ece8e0;--soft:#a09a8f;--line:#4a463e;--mark:#e58f62;--on:#191816}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.7 system-ui,"Hiragino Sans","Noto Sans JP",sans-serif;overflow-wrap:anywhere}
main{max-width:26rem;margin:0 auto;padding:clamp(2rem,8vw,5rem) 1.25rem}
h1{font-size:1.6rem;line-height:1.3;margin:0 0 .5rem}
p,ul{color:var(--soft);margin:0 0 1.2rem}
a{color:var(--mark)}
label{display:block;margin:1rem 0 .3rem}
label.check{display:flex;gap:.6rem;align-items:baseline}
input,button{width:100%;font:inherit;padding:.6rem .75rem;border-radius:.5rem;border:1px solid var(--line);background:transparent;color:inherit}
input[type=checkbox]{width:auto}
button{margin-top:1.5rem;background:var(--mark);color:var(--on);border-color:var(--mark);cursor:pointer}
button:disabled{opacity:.6;cursor:default}
.status{color:var(--ink);margin-top:1rem;min-height:1.7em}
`;

const STYLE_HASH = cspHash(STYLE);

/** Further origins from which a page may load: the widget of a captcha. */
export interface PageSources {
  readonly scripts?: readonly string[];
  readonly frames?: readonly string[];
  readonly styles?: readonly string[];
  readonly connections?: readonly string[];
  /** Where its forms may lead, after redirects. */
  readonly forms?: readonly string[];
}

export interface Page {
  readonly language: Language;
  readonly title: string;
  /** HTML in which everything that is not ours is escaped. */
  readonly content: string;
  /** The only script that runs. It must always be the same text: data are passed in attributes. */
  readonly script?: string;
  /** URLs of scripts of others, from `sources.scripts`. */
  readonly externalScripts?: readonly string[];
  readonly sources?: PageSources;
  readonly status?: number;
}

const list = (name: string, ...values: readonly string[]): string =>
  values.length === 0 ? '' : `; ${name} ${values.join(' ')}`;

/**
 * An HTML page as the answer to a request. It loads nothing from other servers but what `sources` allows, runs no script but its own,
 * which is allowed by its hash, sends forms to this server only, and is shown in no frame.
 */
export const pageReply = ({
  language,
  title,
  content,
  script,
  externalScripts = [],
  sources = {},
  status = 200,
}: Page): Reply => {
  const scripts = [...(script === undefined ? [] : [cspHash(script)]), ...(sources.scripts ?? [])];
  const policy = [
    "default-src 'none'",
    list('style-src', STYLE_HASH, ...(sources.styles ?? [])),
    scripts.length === 0 ? '' : list('script-src', ...scripts),
    list('connect-src', "'self'", ...(sources.connections ?? [])),
    list('frame-src', ...(sources.frames ?? [])),
    list('form-action', "'self'", ...(sources.forms ?? [])),
    "; base-uri 'none'; frame-ancestors 'none'",
  ].join('');
  const external = externalScripts.map((url) => `<script src="${escapeHtml(url)}" async defer></script>\n`).join('');
  return new Reply({
    status,
    contentType: 'text/html; charset=utf-8',
    headers: {
      'Content-Security-Policy': policy,
      'Referrer-Policy': 'no-referrer',
      'X-Frame-Options': 'DENY',
      'Cache-Control': 'no-store',
      Vary: 'Accept-Language',
    },
    content: `<!doctype html>
<html lang="${language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex">
<title>${escapeHtml(title)} · Tsudoi</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<h1>${escapeHtml(title)}</h1>
${content}
</main>
${script === undefined ? '' : `<script>${script}</script>\n`}${external}</body>
</html>
`,
  });
};
