import { Type } from 'typebox';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type {
  AppserviceState,
  AppserviceTransactions,
} from '#src/services/appservices/delivery/appservice-transactions.ts';
import type { AppserviceAdministration } from '#src/services/accounts/appservices/appservice-administration.ts';
import { actorOf } from '../actor.ts';
import { anyObject, empty } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';

const root = '/_tsudoi/admin/v1/appservices';
const path = `${root}/{id}`;
const params = Type.Object({ id: Type.String() });

const shown = Type.Object({
  id: Type.String(),
  url: Type.Union([Type.String(), Type.Null()]),
  sender: Type.String({ description: 'User id.' }),
  source: Type.String({ description: 'The file that registers it, or `database`.' }),
  registration: Type.Object({}, { additionalProperties: true, description: 'As it was written, without its tokens.' }),
});
const list = Type.Object({ appservices: Type.Array(shown) });
const orNull = (description: string) => Type.Union([Type.Integer(), Type.Null()], { description });
const delivered = Type.Intersect([
  shown,
  Type.Object({
    delivery: Type.Object({
      waiting_events: Type.Integer(),
      failures: Type.Integer({ description: 'How often in a row it could not be sent something.' }),
      retry_at: orNull('When it is tried again, in milliseconds.'),
      last_success_ts: orNull('When something last arrived there, in milliseconds.'),
      last_failure: Type.Union([Type.String(), Type.Null()], {
        description: 'Why the last transaction did not arrive.',
      }),
    }),
  }),
]);

const bodyOf = ({ id, sender, shown: registration, source, url }: ApplicationService) => ({
  id,
  url,
  sender,
  source,
  registration,
});

/** The same with the state of its transactions. */
const deliveredOf = (
  service: ApplicationService,
  { failure, failures, lastSuccess, retryAt, waiting }: AppserviceState,
) => ({
  ...bodyOf(service),
  delivery: {
    waiting_events: waiting,
    failures,
    retry_at: retryAt,
    last_success_ts: lastSuccess,
    last_failure: failure,
  },
});

interface Services {
  readonly appserviceAdministration: AppserviceAdministration;
}

interface ShowingServices extends Services {
  readonly appserviceTransactions: Pick<AppserviceTransactions, 'stateOf'>;
}

/** Administrators register bridges and bots as application services while the server runs. No answer holds a token. */
export const appserviceAdminEndpoints = [
  endpoint({
    operationId: 'listAppservices',
    summary: 'All application services, without their tokens, and whether they are there.',
    method: 'GET',
    path: root,
    ...OF_ADMINISTRATORS,
    response: Type.Object({ appservices: Type.Array(delivered) }),
    errcodes: [],
    handler: ({ appserviceAdministration, appserviceTransactions }: ShowingServices) =>
      Promise.resolve({
        appservices: appserviceAdministration
          .list()
          .map((service) => deliveredOf(service, appserviceTransactions.stateOf(service.id))),
      }),
  }),
  endpoint({
    operationId: 'addAppservice',
    summary: 'Registers an application service. The body is its registration, in the spelling of the specification.',
    method: 'POST',
    path: root,
    ...OF_ADMINISTRATORS,
    body: anyObject,
    response: shown,
    errcodes: ['M_INVALID_PARAM'],
    handler: async ({ appserviceAdministration }: Services, { body, requester, info }) =>
      bodyOf(await appserviceAdministration.add(actorOf(requester, info), body)),
  }),
  endpoint({
    operationId: 'reloadAppservices',
    summary: 'Reads the files of registrations again. When one cannot be used, all stays as it was.',
    method: 'POST',
    path: '/_tsudoi/admin/v1/reload_appservices',
    ...OF_ADMINISTRATORS,
    response: list,
    errcodes: ['M_INVALID_PARAM'],
    handler: async ({ appserviceAdministration }: Services, { requester, info }) => ({
      appservices: (await appserviceAdministration.reload(actorOf(requester, info))).map(bodyOf),
    }),
  }),
  endpoint({
    operationId: 'getAppservice',
    summary: 'One application service, without its tokens, and whether it is there.',
    method: 'GET',
    path,
    ...OF_ADMINISTRATORS,
    params,
    response: delivered,
    errcodes: ['M_NOT_FOUND'],
    handler: ({ appserviceAdministration, appserviceTransactions }: ShowingServices, { params: { id } }) =>
      deliveredOf(appserviceAdministration.get(id), appserviceTransactions.stateOf(id)),
  }),
  endpoint({
    operationId: 'replaceAppservice',
    summary: 'Registers an application service in the place of the one with its id, or adds it.',
    method: 'PUT',
    path,
    ...OF_ADMINISTRATORS,
    params,
    body: anyObject,
    response: shown,
    errcodes: ['M_INVALID_PARAM'],
    handler: async ({ appserviceAdministration }: Services, { params: { id }, body, requester, info }) =>
      bodyOf(await appserviceAdministration.replace(actorOf(requester, info), id, body)),
  }),
  endpoint({
    operationId: 'removeAppservice',
    summary: 'Takes the registration of an application service away. The users that it made stay.',
    method: 'DELETE',
    path,
    ...OF_ADMINISTRATORS,
    params,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM'],
    async handler({ appserviceAdministration }: Services, { params: { id }, requester, info }) {
      await appserviceAdministration.remove(actorOf(requester, info), id);
      return {};
    },
  }),
];
