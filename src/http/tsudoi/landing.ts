import { Type } from 'typebox';
import { escapeHtml } from '#src/kernel/text/html.ts';
import { cspHash } from '#src/kernel/text/csp-hash.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  readonly serverName: string;
  /** Tsudoi's own version. */
  readonly softwareVersion: string;
  /** The address that clients are to use. */
  readonly publicBaseUrl: () => string;
  /** Versions of the specification that are advertised, oldest first. */
  readonly versions: () => { readonly versions: readonly string[] };
}

const STYLE = `
:root{color-scheme:light dark;--paper:#fbfaf7;--ink:#23211d;--soft:#6d685f;--line:#e2ded5;--mark:#b4532a;--card:#fff}
@media(prefers-color-scheme:dark){:root{--paper:#191816;--ink:#ece8e0;--soft:#a09a8f;--line:#38352f;--mark:#e58f62;--card:#221f1c}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.7 system-ui,"Hiragino Sans","Noto Sans JP",sans-serif;overflow-wrap:anywhere}
main{max-width:42rem;margin:0 auto;padding:clamp(2rem,8vw,5rem) 1.25rem}
h1{font-size:clamp(1.7rem,6vw,2.6rem);line-height:1.2;margin:.2rem 0 .6rem}
h2{font-size:1.05rem;margin:0 0 .4rem}
.name{color:var(--mark);font-weight:600;letter-spacing:.04em;margin:0}
.lead,footer{color:var(--soft);margin:0}
section{background:var(--card);border:1px solid var(--line);border-radius:.75rem;padding:1.1rem 1.3rem;margin-top:1.5rem}
section p{margin:0 0 .7rem}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;margin:0}
@media(max-width:30rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
dt{color:var(--soft)}dd{margin:0}
code{font:.92em ui-monospace,monospace;user-select:all}
footer{margin-top:2rem;font-size:.9rem}
`;

/** The page runs nothing and loads nothing: its one style sheet is allowed by its hash. */
const HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': `default-src 'none'; style-src ${cspHash(STYLE)}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'public, max-age=300',
};

const page = (services: Services): string => {
  const name = escapeHtml(services.serverName);
  const url = escapeHtml(services.publicBaseUrl());
  const versions = services.versions().versions;
  const range = escapeHtml(`${versions[0] ?? ''} – ${versions.at(-1) ?? ''}`);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${name} · Tsudoi</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<header>
<p class="name">Tsudoi <span lang="ja">集い</span></p>
<h1>${name}</h1>
<p class="lead">A Matrix homeserver. It is running. <span lang="ja">Matrix ホームサーバーが稼働しています。</span></p>
</header>
<section>
<h2>How to connect</h2>
<p>Open any Matrix client, choose “other homeserver” and enter the address below. Your user ID will look like <code>@you:${name}</code>.</p>
<dl><dt>Homeserver</dt><dd><code>${url}</code></dd></dl>
</section>
<section lang="ja">
<h2>接続方法</h2>
<p>お使いの Matrix クライアントで「他のホームサーバー」を選び、次のアドレスを入力してください。ユーザー ID は <code>@you:${name}</code> の形になります。</p>
<dl><dt>ホームサーバー</dt><dd><code>${url}</code></dd></dl>
</section>
<section>
<h2>About <span lang="ja">· このサーバーについて</span></h2>
<dl>
<dt>Server name</dt><dd>${name}</dd>
<dt>Software</dt><dd>Tsudoi ${escapeHtml(services.softwareVersion)}</dd>
<dt>Matrix</dt><dd>${range}</dd>
</dl>
</section>
<footer>Free software, AGPL-3.0-or-later. <span lang="ja">自由ソフトウェアです。</span></footer>
</main>
</body>
</html>
`;
};

/** The page at the server's address, for people who open it in a browser. */
export const landingEndpoints = [
  endpoint({
    operationId: 'getLandingPage',
    summary: 'A page that says what this is and how to connect.',
    method: 'GET',
    path: '/',
    auth: 'none',
    rateLimit: 'none',
    response: Type.String(),
    responseType: 'text/html; charset=utf-8',
    errcodes: [],
    handler: async (services: Services) =>
      new Reply({ content: page(services), contentType: 'text/html; charset=utf-8', headers: HEADERS }),
  }),
];
