import { Type } from 'typebox';
import { endpoint } from '../endpoint.ts';
import { languageOf, pageReply, textsOf, type Translated } from './page.ts';
import { PASSWORD_PROOF, PASSWORD_TEXTS, passwordField, userField } from './password-form.ts';

// What goes to the app that shows this page is the answer of /login as it came. Nothing of it is kept here.
const SCRIPT = `${PASSWORD_PROOF}window.matrixLogin=window.matrixLogin||{};
const form=document.querySelector('form'),status=document.querySelector('.status'),button=form.querySelector('button');
const query=new URLSearchParams(location.search),texts=form.dataset;
form.addEventListener('submit',async(event)=>{
event.preventDefault();button.disabled=true;status.textContent='…';
const body=passwordProof(form);
for(const key of ['device_id','initial_device_display_name'])if(query.has(key))body[key]=query.get(key);
if(query.get('refresh_token')==='true')body.refresh_token=true;
try{
const response=await fetch(location.pathname.replace(/\\/static\\/client\\/login\\/?$/,'/client/v3/login'),
{method:'POST',headers:{'Content-Type':'application/json'},body:JSON.stringify(body)});
const answer=await response.json();
if(!response.ok){status.textContent=response.status===403?texts.wrong:answer.error;button.disabled=false;return}
form.password.value='';form.hidden=true;status.textContent=texts.done;
if(window.matrixLogin.onLogin)window.matrixLogin.onLogin(answer);
}catch{status.textContent=texts.silent;button.disabled=false}
});
`;

const TEXTS = {
  ...PASSWORD_TEXTS,
  title: { en: 'Log in', ja: 'ログイン' },
  password: { en: 'Password', ja: 'パスワード' },
  button: { en: 'Log in', ja: 'ログイン' },
  done: { en: 'You are logged in. You can close this page.', ja: 'ログインしました。このページを閉じてください。' },
} as const satisfies Record<string, Translated>;

/** Client-Server API, "Login Fallback": a page for apps that do not know how to log in here. */
export const loginPageEndpoints = [
  endpoint({
    operationId: 'getLoginPage',
    summary: 'A page on which a user logs in, for clients that do not know the ways of logging in.',
    method: 'GET',
    path: '/_matrix/static/client/login/',
    aliases: ['/_matrix/static/client/login'],
    auth: 'none',
    rateLimit: 'default',
    response: Type.String(),
    responseType: 'text/html; charset=utf-8',
    errcodes: ['M_LIMIT_EXCEEDED'],
    async handler(_, { info }) {
      const language = languageOf(info.acceptLanguage);
      const of = textsOf(TEXTS, language);
      return pageReply({
        language,
        title: of('title'),
        script: SCRIPT,
        content: `<form data-wrong="${of('wrong')}" data-done="${of('done')}" data-silent="${of('silent')}">
${userField(of('user'))}
${passwordField('password', of('password'), 'current')}
<button>${of('button')}</button>
</form>
<p class="status" role="status"></p>`,
      });
    },
  }),
];
