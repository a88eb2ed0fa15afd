import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { FirstAdmin } from '#src/services/accounts/registration/first-admin.ts';
import { cspHash } from '#src/kernel/text/csp-hash.ts';
import { endpoint, Reply } from '../endpoint.ts';

/** The path of the link with which the first administrator is created: `SETUP_PATH?token=...` */
export const SETUP_PATH = '/_tsudoi/setup';

const STYLE = `
:root{color-scheme:light dark;--paper:#fbfaf7;--ink:#23211d;--soft:#6d685f;--line:#cfc9bd;--mark:#a3481f;--on:#fff}
@media(prefers-color-scheme:dark){:root{--paper:#191816;--ink:#ece8e0;--soft:#a09a8f;--line:#4a463e;--mark:#e58f62;--on:#191816}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.7 system-ui,"Hiragino Sans","Noto Sans JP",sans-serif}
main{max-width:26rem;margin:0 auto;padding:clamp(2rem,8vw,5rem) 1.25rem}
h1{font-size:1.6rem;line-height:1.3;margin:0 0 .5rem}
p{color:var(--soft);margin:0 0 1.2rem}
label{display:block;margin:1rem 0 .3rem}
input,button{width:100%;font:inherit;padding:.6rem .75rem;border-radius:.5rem;border:1px solid var(--line);background:transparent;color:inherit}
button{margin-top:1.5rem;background:var(--mark);color:var(--on);border-color:var(--mark);cursor:pointer}
button:disabled{opacity:.6;cursor:default}
#status{color:var(--ink);margin-top:1rem;min-height:1.7em;overflow-wrap:anywhere}
`;

// The token goes into the body: it must not stay in the address bar, and its page in the history leads nowhere afterwards.
const SCRIPT = `
const form=document.querySelector('form'),status=document.getElementById('status'),button=form.querySelector('button');
const token=new URLSearchParams(location.search).get('token');
form.addEventListener('submit',async(event)=>{
event.preventDefault();
if(form.password.value!==form.repeated.value){status.textContent='The two passwords differ. / パスワードが一致しません。';return}
button.disabled=true;status.textContent='…';
try{
const response=await fetch(location.pathname,{method:'POST',headers:{'Content-Type':'application/json'},
body:JSON.stringify({token,username:form.username.value,password:form.password.value})});
const answer=await response.json();
if(response.ok){form.hidden=true;history.replaceState(null,'',location.pathname);
status.textContent=answer.user_id+' administrates this server now. Log in with any Matrix client. / 管理者になりました。'}
else{status.textContent=answer.error;button.disabled=false}
}catch{status.textContent='The server did not answer. / サーバーが応答しません。';button.disabled=false}
});
`;

const HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': `default-src 'none'; style-src ${cspHash(STYLE)}; script-src ${cspHash(SCRIPT)}; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-store',
};

const page = (content: string): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex">
<title>Set up · Tsudoi</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${content}
</main>
</body>
</html>
`;

const FORM = page(`<h1>The first administrator</h1>
<p>This account will administrate the server. <span lang="ja">このサーバーの管理者アカウントを作成します。</span></p>
<form>
<label for="username">User name <span lang="ja">ユーザー名</span></label>
<input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>
<label for="password">Password <span lang="ja">パスワード</span></label>
<input id="password" name="password" type="password" autocomplete="new-password" required>
<label for="repeated">Password again <span lang="ja">パスワード(確認)</span></label>
<input id="repeated" name="repeated" type="password" autocomplete="new-password" required>
<button>Make the account <span lang="ja">作成</span></button>
</form>
<p id="status" role="status"></p>
<script>${SCRIPT}</script>`);

const refusal = (sentence: string): string =>
  page(`<h1>This link is not valid</h1>
<p>${sentence}</p>
<p lang="ja">このリンクは無効です。管理者がいない場合、サーバーの起動時に新しいリンクが表示されます。</p>`);

interface Services {
  readonly firstAdmin: FirstAdmin;
}

/** The page on which the first administrator of a new server is created. It loads nothing from other servers. */
export const setupEndpoints = [
  endpoint({
    operationId: 'getSetupPage',
    summary: 'The page on which the first administrator is made.',
    method: 'GET',
    path: SETUP_PATH,
    auth: 'none',
    rateLimit: 'registration',
    query: Type.Object({ token: Type.Optional(Type.String()) }),
    response: Type.String(),
    responseType: 'text/html; charset=utf-8',
    errcodes: ['M_LIMIT_EXCEEDED'],
    async handler({ firstAdmin }: Services, { query }) {
      const html = { contentType: 'text/html; charset=utf-8', headers: HEADERS };
      try {
        await firstAdmin.check(query.token ?? '');
        return new Reply({ ...html, content: FORM });
      } catch (error) {
        if (!(error instanceof MatrixError)) throw error;
        return new Reply({ ...html, status: error.status, content: refusal(error.message) });
      }
    },
  }),
  endpoint({
    operationId: 'registerFirstAdmin',
    summary: 'Makes the first administrator.',
    method: 'POST',
    path: SETUP_PATH,
    auth: 'none',
    rateLimit: 'registration',
    body: Type.Object({ token: Type.String(), username: Type.String(), password: Type.String() }),
    response: Type.Object({ user_id: Type.String() }),
    errcodes: ['M_FORBIDDEN', 'M_USER_IN_USE', 'M_INVALID_USERNAME', 'M_WEAK_PASSWORD', 'M_LIMIT_EXCEEDED'],
    async handler({ firstAdmin }: Services, { body, info }) {
      return { user_id: (await firstAdmin.register(body.token, body.username, body.password, info.ip)).userId };
    },
  }),
];
