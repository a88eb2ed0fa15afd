import { Type } from 'typebox';
import type { AddressValidation } from '#src/services/accounts/validation/address-validation.ts';
import { EMAIL_STAGE, purposeOf } from '#src/services/accounts/uia/email-stage.ts';
import type { AuthData } from '#src/services/accounts/uia/stages.ts';
import type { StageView, UiaService } from '#src/services/accounts/uia/uia-service.ts';
import { endpoint, FormBody } from '../endpoint.ts';
import { languageOf } from './page.ts';
import { donePage, formPage, nothingPage, problemOf } from './stage-pages.ts';

const path = '/_matrix/client/v3/auth/{authType}/fallback/web';
const params = Type.Object({ authType: Type.String() });
const query = Type.Object({ session: Type.String() });
const html = { response: Type.String(), responseType: 'text/html; charset=utf-8' };
const fields = {
  token: Type.Optional(Type.String()),
  email: Type.Optional(Type.String()),
  sid: Type.Optional(Type.String()),
  user: Type.Optional(Type.String()),
  password: Type.Optional(Type.String()),
  'g-recaptcha-response': Type.Optional(Type.String()),
  'h-captcha-response': Type.Optional(Type.String()),
  'cf-turnstile-response': Type.Optional(Type.String()),
};

interface Services {
  readonly uia: UiaService;
  readonly addressValidation: AddressValidation;
}

/** Pages on which stages of user-interactive authentication are completed that a client does not know. Client-Server API, "Fallback". */
export const stageFallbackEndpoints = [
  endpoint({
    operationId: 'getStageFallback',
    summary: 'The page on which a stage of user-interactive authentication is completed.',
    method: 'GET',
    path,
    auth: 'none',
    rateLimit: 'default',
    params,
    query,
    ...html,
    errcodes: ['M_LIMIT_EXCEEDED'],
    answers: { 404: { description: 'A page that says that there is no such stage.', schema: Type.String() } },
    async handler({ uia }: Pick<Services, 'uia'>, { params: { authType }, query: { session }, info }) {
      const language = languageOf(info.acceptLanguage);
      const stage = await uia.stageOf(session, authType);
      if (stage === undefined) return nothingPage(language);
      return stage.isCompleted ? donePage(language) : formPage(stage, language);
    },
  }),
  endpoint({
    operationId: 'completeStageFallback',
    summary: 'Completes a stage of user-interactive authentication on its page.',
    method: 'POST',
    path,
    auth: 'none',
    rateLimit: 'registration',
    params,
    query,
    body: new FormBody(Type.Object(fields)),
    ...html,
    errcodes: ['M_LIMIT_EXCEEDED'],
    answers: {
      401: { description: 'The page again: the attempt failed.', schema: Type.String() },
      404: { description: 'A page that says that there is no such stage.', schema: Type.String() },
      503: { description: 'The page again: the attempt cannot be judged at the moment.', schema: Type.String() },
    },
    async handler(
      { addressValidation, uia }: Services,
      { params: { authType: type }, query: { session }, body, info },
    ) {
      const language = languageOf(info.acceptLanguage);
      const stage = await uia.stageOf(session, type);
      if (stage === undefined) return nothingPage(language);
      const { email = '', sid } = body;
      const purpose = type === EMAIL_STAGE ? purposeOf(stage.operation) : undefined;
      const mailed = (known: string): StageView => ({ ...stage, params: { ...stage.params, email, sid: known } });
      try {
        if (purpose !== undefined && sid === undefined) {
          const asked = { email, acceptLanguage: info.acceptLanguage, ip: info.ip };
          return formPage(mailed(await addressValidation.requestOnPage(purpose, session, asked)), language);
        }
        const secret = addressValidation.secretOf(session);
        await uia.attempt(session, authOf(type, body, secret), info.ip);
        return donePage(language);
      } catch (error) {
        return formPage(sid === undefined ? stage : mailed(sid), language, problemOf(error, type, language));
      }
    },
  }),
];

/** The members of a form as a client would send them in `auth`. */
const authOf = (
  type: string,
  body: { readonly [field in keyof typeof fields]?: string },
  secret: string,
): AuthData & { readonly type: string } => ({
  type,
  token: body.token,
  identifier: { type: 'm.id.user', user: body.user },
  password: body.password,
  threepid_creds: { sid: body.sid, client_secret: secret },
  response: body['g-recaptcha-response'] ?? body['h-captcha-response'] ?? body['cf-turnstile-response'],
});
