import { Type } from 'typebox';
import { endpoint, Reply } from '../endpoint.ts';
import { type Language, languageOf, pageReply, textsOf, type Translated } from './page.ts';
import { PASSWORD_PROOF, PASSWORD_TEXTS, passwordField, userField } from './password-form.ts';

const PAGE_PATH = '/_tsudoi/account/password';

// The session that the page makes for itself ends with it, whatever came of the change.
const SCRIPT = `${PASSWORD_PROOF}const form=document.querySelector('form'),status=document.querySelector('.status'),button=form.querySelector('button'),texts=form.dataset;
const api=location.pathname.replace(/\\/_tsudoi\\/account\\/password$/,'/_matrix/client/v3/');
const post=async(path,body,token)=>{
const response=await fetch(api+path,{method:'POST',body:JSON.stringify(body),
headers:{'Content-Type':'application/json',...(token?{Authorization:'Bearer '+token}:{})}});
const answer=await response.json();
if(response.ok)return answer;
throw Object.assign(new Error(answer.error),{status:response.status,isAnswer:true});
};
form.addEventListener('submit',async(event)=>{
event.preventDefault();
if(form.wanted.value!==form.repeated.value){status.textContent=texts.differ;return}
button.disabled=true;status.textContent='…';
const proof=passwordProof(form);
let token;
try{
token=(await post('login',{...proof,initial_device_display_name:texts.device})).access_token;
await post('account/password',{new_password:form.wanted.value,logout_devices:form.others.checked,auth:proof},token);
form.reset();form.hidden=true;status.textContent=texts.done;
}catch(error){status.textContent=!error.isAnswer?texts.silent:error.status===403?texts.wrong:error.message}
finally{button.disabled=false;if(token)await post('logout',{},token).catch(()=>undefined)}
});
`;

const TEXTS = {
  ...PASSWORD_TEXTS,
  title: { en: 'Change your password', ja: 'パスワードの変更' },
  password: { en: 'Password as it is', ja: '現在のパスワード' },
  wanted: { en: 'New password', ja: '新しいパスワード' },
  repeated: { en: 'New password again', ja: '新しいパスワード(確認)' },
  others: { en: 'Log all devices out', ja: 'すべての端末からログアウトする' },
  button: { en: 'Change it', ja: '変更する' },
  differ: { en: 'The two passwords differ.', ja: 'パスワードが一致しません。' },
  done: { en: 'Your password is changed.', ja: 'パスワードを変更しました。' },
  device: { en: 'Change of the password', ja: 'パスワードの変更' },
} as const satisfies Record<string, Translated>;

const passwordPage = (language: Language): Reply => {
  const of = textsOf(TEXTS, language);
  const data = (['differ', 'wrong', 'done', 'silent', 'device'] as const).map((text) => `data-${text}="${of(text)}"`);
  return pageReply({
    language,
    title: of('title'),
    script: SCRIPT,
    content: `<form ${data.join(' ')}>
${userField(of('user'))}
${passwordField('password', of('password'), 'current')}
${passwordField('wanted', of('wanted'), 'new')}
${passwordField('repeated', of('repeated'), 'new')}
<label class="check"><input name="others" type="checkbox" checked>${of('others')}</label>
<button>${of('button')}</button>
</form>
<p class="status" role="status"></p>`,
  });
};

interface Services {
  /** Where users change their password; undefined: on the page below. */
  readonly changePasswordPage: () => string | undefined;
  readonly publicBaseUrl: () => string;
}

/** A page on which users change their password without a client, and the well-known address by which password managers find it. */
export const changePasswordEndpoints = [
  endpoint({
    operationId: 'getChangePassword',
    summary: 'Leads to the page on which users change their password. W3C, "A Well-Known URL for Changing Passwords".',
    method: 'GET',
    path: '/.well-known/change-password',
    auth: 'none',
    rateLimit: 'none',
    response: Type.Object({}),
    errcodes: [],
    answers: { 302: { description: 'The page.' } },
    handler: async ({ changePasswordPage, publicBaseUrl }: Services) =>
      new Reply({ status: 302, headers: { Location: changePasswordPage() ?? `${publicBaseUrl()}${PAGE_PATH}` } }),
  }),
  endpoint({
    operationId: 'getChangePasswordPage',
    summary: 'A page on which users change their password.',
    method: 'GET',
    path: PAGE_PATH,
    auth: 'none',
    rateLimit: 'default',
    response: Type.String(),
    responseType: 'text/html; charset=utf-8',
    errcodes: ['M_LIMIT_EXCEEDED'],
    async handler(_, { info }) {
      return passwordPage(languageOf(info.acceptLanguage));
    },
  }),
];
