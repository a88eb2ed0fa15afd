import { MAX_BODY_BYTES as APPLICATION_SERVICES_MAX_BODY_BYTES } from '#src/remote/application-services.ts';
import { MAX_BODY_BYTES as CAPTCHA_SERVICE_MAX_BODY_BYTES } from '#src/remote/captcha-service.ts';
import { MAX_ANSWER_SIZE } from '#src/remote/federation/policy-api.ts';
import { MAX_BODY_BYTES as IDENTITY_SERVICE_MAX_BODY_BYTES } from '#src/remote/identity-service.ts';
import { MAX_BODY_BYTES as PUSH_GATEWAY_MAX_BODY_BYTES } from '#src/remote/push-gateway.ts';
import { MAX_RESPONSE_BYTES } from '#src/remote/smtp/smtp-client.ts';
import { MAX_BODY_BYTES as SPAM_CHECK_API_MAX_BODY_BYTES } from '#src/remote/spam-check-api.ts';
import { CONCURRENCY } from '#src/services/accounts/appservices/appservice-queries.ts';
import { MAX_LENGTH as NAMESPACE_PATTERN_MAX_LENGTH } from '#src/services/accounts/appservices/namespace-pattern.ts';
import { MAX_NAMESPACES, MAX_PROTOCOLS } from '#src/services/accounts/appservices/registration.ts';
import { MAX_PAUSE_MS } from '#src/services/appservices/delivery/appservice-transactions.ts';
import {
  MAX_EVENTS as APPSERVICE_TRANSACTIONS_MAX_EVENTS,
  MAX_CHARACTERS as APPSERVICE_TRANSACTIONS_MAX_CHARACTERS,
} from '#src/services/appservices/delivery/transaction-composer.ts';
import { MAX_HELD as SERVICE_LOG_MAX_HELD, MAX_HELD_BYTES } from '#src/services/appservices/delivery/service-log.ts';
import {
  MAX_MESSAGES,
  MAX_CHARACTERS as DEVICE_EXTRAS_MAX_CHARACTERS,
} from '#src/services/appservices/extras/device-extras.ts';
import {
  MAX_TAKEN,
  MAX_WAITING as EPHEMERAL_EXTRAS_MAX_WAITING,
} from '#src/services/appservices/extras/ephemeral-extras.ts';
import {
  MAX_RESULTS as THIRD_PARTY_LOOKUPS_MAX_RESULTS,
  MAX_BODY_BYTES as THIRD_PARTY_LOOKUPS_MAX_BODY_BYTES,
  LOOKUPS_AT_ONCE,
} from '#src/services/appservices/lookups/third-party-lookups.ts';
import { MAX_IN_BACKGROUND } from '#src/services/policy/callbacks/spam-checks.ts';
import {
  MAX_FRAME_BYTES,
  MAX_JSON_VALUES,
  MAX_FRAMES as APPSERVICE_SOCKETS_MAX_FRAMES,
  MAX_BYTES as APPSERVICE_SOCKETS_MAX_BYTES,
} from '#src/ws/appservice-sockets.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';

/** Fixed bounds: application services and other services. */
export const SERVICES_BOUNDS: FixedBounds = {
  title: 'Application services and other services',
  why: 'The operator has chosen these services, and each of them may fail all the same.',
  rows: [
    {
      what: 'Registration of an application service',
      most: `${MAX_NAMESPACES} entries of each kind in \`namespaces\`, of ${NAMESPACE_PATTERN_MAX_LENGTH} characters each; ${MAX_PROTOCOLS} protocols`,
      beyond: 'the server says what is wrong with it, and does not start',
    },
    {
      what: 'Events of one transaction for an application service',
      most: `${APPSERVICE_TRANSACTIONS_MAX_EVENTS}, of ${APPSERVICE_TRANSACTIONS_MAX_CHARACTERS} characters together`,
      beyond: 'the rest comes with the next one',
      metric: 'tsudoi_appservice_transactions_total{appservice,outcome}',
    },
    {
      what: 'Messages for devices in one such transaction',
      most: `${MAX_MESSAGES}, of ${DEVICE_EXTRAS_MAX_CHARACTERS} characters together`,
      beyond: 'the rest comes with the next one',
    },
    {
      what: 'Receipts, typing users and presence in one such transaction',
      most: `${MAX_TAKEN} events`,
      beyond: 'the rest comes with the next one',
    },
    {
      what: 'Events of one application service that wait in memory',
      most: `${SERVICE_LOG_MAX_HELD}, ${inBytes(MAX_HELD_BYTES)}`,
      beyond: 'the others are read from the database when it is their turn',
      metric: 'tsudoi_appservice_waiting_events{appservice}',
    },
    {
      what: 'Receipts, typing users and presence that wait for one application service',
      most: String(EPHEMERAL_EXTRAS_MAX_WAITING),
      beyond: 'the oldest are dropped',
    },
    {
      what: 'Pause before an application service that does not answer is tried again',
      most: `${inTime(MAX_PAUSE_MS)} at the longest`,
      beyond: 'it waits',
      metric: 'tsudoi_appservice_failures',
    },
    {
      what: 'Questions to one application service at the same time',
      most: `${CONCURRENCY} whether names exist, ${LOOKUPS_AT_ONCE} lookups in other networks`,
      beyond: 'it counts as not reached',
    },
    {
      what: 'Answers of application services about other networks',
      most: `${THIRD_PARTY_LOOKUPS_MAX_RESULTS} results, ${inBytes(THIRD_PARTY_LOOKUPS_MAX_BODY_BYTES)}`,
      beyond: 'the others are left out',
    },
    {
      what: 'One frame on the WebSocket of an application service',
      most: `${inBytes(MAX_FRAME_BYTES)}, ${MAX_JSON_VALUES} values`,
      beyond: 'the socket is closed',
    },
    {
      what: 'What an application service sends between two heartbeats',
      most: `${APPSERVICE_SOCKETS_MAX_FRAMES} frames, ${inBytes(APPSERVICE_SOCKETS_MAX_BYTES)}`,
      beyond: 'the socket is closed',
    },
    {
      what: 'Messages to the moderation tool for which nobody waits, at the same time',
      most: String(MAX_IN_BACKGROUND),
      beyond: 'further ones are dropped',
      metric: 'tsudoi_policy_callbacks_total{callback,outcome}',
    },
    {
      what: 'Answers of application services, push gateways, captchas, moderation tools and policy servers',
      most: `${inBytes(APPLICATION_SERVICES_MAX_BODY_BYTES)}, ${inBytes(PUSH_GATEWAY_MAX_BODY_BYTES)}, ${inBytes(CAPTCHA_SERVICE_MAX_BODY_BYTES)}, ${inBytes(SPAM_CHECK_API_MAX_BODY_BYTES)}, ${inBytes(MAX_ANSWER_SIZE)}`,
      beyond: 'they count as none',
    },
    {
      what: 'Answers of identity servers',
      most: inBytes(IDENTITY_SERVICE_MAX_BODY_BYTES),
      beyond: 'they count as none',
    },
    {
      what: 'Lines of a mail server',
      most: inBytes(MAX_RESPONSE_BYTES),
      beyond: 'the mail is tried again',
      metric: 'tsudoi_mails_total{kind,outcome}',
    },
  ],
};
