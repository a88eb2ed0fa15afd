import type { Translated } from './page.ts';

/** Texts of every form in which users name themselves by a password. */
export const PASSWORD_TEXTS = {
  user: { en: 'User name or mail address', ja: 'ユーザー名またはメールアドレス' },
  wrong: { en: 'User name or password is wrong.', ja: 'ユーザー名またはパスワードが違います。' },
  silent: { en: 'The server did not answer.', ja: 'サーバーが応答しません。' },
} as const satisfies Record<string, Translated>;

/** The field `user` of such a form. @param label its label, in the page's language */
export const userField = (label: string): string => `<label for="user">${label}</label>
<input id="user" name="user" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>`;

/** A field for a password. @param kind which one a password store fills in */
export const passwordField = (name: string, label: string, kind: 'current' | 'new'): string =>
  `<label for="${name}">${label}</label>
<input id="${name}" name="${name}" type="password" autocomplete="${kind}-password" required>`;

/** For the script of a page: `passwordProof(form)` makes the `m.login.password` of the fields `user` and `password`. */
export const PASSWORD_PROOF = `
const passwordProof=(form)=>{
const name=form.user.value.trim(),isMail=name.indexOf('@')>0;
return{type:'m.login.password',password:form.password.value,
identifier:isMail?{type:'m.id.thirdparty',medium:'email',address:name}:{type:'m.id.user',user:name}};
};
`;
