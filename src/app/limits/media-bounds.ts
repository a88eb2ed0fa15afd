import { MAX_REDIRECTS } from '#src/remote/federation/media-api.ts';
import { MAX_PIXELS, MAX_FRAMES as IMAGE_SCALER_MAX_FRAMES } from '#src/services/media/image-scaler.ts';
import { MAX_NAMES as MEDIA_REFERENCES_MAX_NAMES } from '#src/services/media/media-references.ts';
import {
  CONCURRENCY as MEDIA_SCANNER_CONCURRENCY,
  MAX_WAITING as MEDIA_SCANNER_MAX_WAITING,
} from '#src/services/media/media-scanner.ts';
import { MAX_WAIT_MS } from '#src/services/media/media-service.ts';
import { UPLOADS_AT_ONCE, UPLOADS_OF_USER } from '#src/services/media/upload-places.ts';
import { MAX_ELEMENTS } from '#src/services/media/previews/page-facts.ts';
import {
  MAX_FIELDS as PREVIEW_FIELDS_MAX_FIELDS,
  MAX_LENGTH as PREVIEW_FIELDS_MAX_LENGTH,
} from '#src/services/media/previews/preview-fields.ts';
import {
  MAX_BYTES as ROBOTS_RULES_MAX_BYTES,
  MAX_NAMES as ROBOTS_RULES_MAX_NAMES,
} from '#src/services/media/previews/robots-rules.ts';
import { MAX_WAITING as URL_PREVIEWS_MAX_WAITING } from '#src/services/media/previews/url-previews.ts';
import { MAX_URL_LENGTH } from '#src/services/media/previews/url-rules.ts';
import { CONCURRENCY as REMOTE_MEDIA_CONCURRENCY, OF_SERVER, FOR_PARTY } from '#src/services/media/remote-media.ts';
import {
  MAX_IMAGE_SIZE,
  CONCURRENCY as THUMBNAIL_SERVICE_CONCURRENCY,
  MAX_WAITING as THUMBNAIL_SERVICE_MAX_WAITING,
} from '#src/services/media/thumbnail-service.ts';
import {
  MAX_STEPS as CLASSIFIER_MAX_STEPS,
  MAX_STEPS_FOR_NAMES,
} from '#src/services/push/classification/classifier.ts';
import { MAX_AT_ONCE, MAX_WHILE_AWAY } from '#src/services/push/delivery/gateway-health.ts';
import { MAX_HELD as HELD_PUSHES_MAX_HELD, MAX_HELD_BYTES } from '#src/services/push/delivery/held-pushes.ts';
import { MAX_ENTRIES as PENDING_PUSHES_MAX_ENTRIES } from '#src/services/push/delivery/pending-pushes.ts';
import { type FixedBounds, inBytes, inTime } from './fixed-bounds.ts';

/** Fixed bounds: files, previews, notifications. */
export const MEDIA_BOUNDS: FixedBounds = {
  title: 'Files, previews, notifications',
  why: 'Files, pages and patterns come from anybody, and some of them are made to be costly.',
  rows: [
    {
      what: 'Uploads at the same time',
      most: `${UPLOADS_AT_ONCE}, of one user ${UPLOADS_OF_USER}`,
      beyond:
        '429 `M_LIMIT_EXCEEDED`; where another user has two more under way, the newest of those is ended with it instead',
      metric: 'tsudoi_limited_requests_total{limiter="uploads"}',
    },
    {
      what: 'Time that a request waits for a file that is still being uploaded',
      most: inTime(MAX_WAIT_MS),
      beyond: '504 `M_NOT_YET_UPLOADED`',
    },
    {
      what: 'Files that are fetched from other servers at the same time',
      most: `${REMOTE_MEDIA_CONCURRENCY}; ${OF_SERVER} of one server, ${FOR_PARTY} for one user or address`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="remote_media"}',
    },
    {
      what: 'Redirects of a file of another server',
      most: String(MAX_REDIRECTS),
      beyond: '502 `M_CONNECTION_FAILED`',
      metric: 'tsudoi_media_fetches_total{outcome}',
    },
    {
      what: 'Image of which a thumbnail is made',
      most: `${inBytes(MAX_IMAGE_SIZE)}; ${MAX_PIXELS} pixels, all frames together`,
      beyond: '413 `M_TOO_LARGE`',
      metric: 'tsudoi_thumbnails_total{outcome}',
    },
    {
      what: 'Frames of an animated thumbnail',
      most: String(IMAGE_SCALER_MAX_FRAMES),
      beyond: 'only the first frame is shown',
    },
    {
      what: 'Thumbnails that are made at the same time',
      most: `${THUMBNAIL_SERVICE_CONCURRENCY}; users take turns, and ${THUMBNAIL_SERVICE_MAX_WAITING} of one user may wait`,
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_limited_requests_total{limiter="thumbnails"}',
    },
    {
      what: 'Files that are scanned for viruses at the same time',
      most: `${MEDIA_SCANNER_CONCURRENCY}; ${MEDIA_SCANNER_MAX_WAITING} may wait`,
      beyond: '503 `M_UNKNOWN`: the file is scanned when it is asked for again',
    },
    {
      what: 'Files that one event can name, and so keep',
      most: String(MEDIA_REFERENCES_MAX_NAMES),
      beyond: 'further ones are not kept because of it',
    },
    {
      what: 'Address of a page of which a preview is made',
      most: `${MAX_URL_LENGTH} characters`,
      beyond: '400 `M_INVALID_PARAM`',
    },
    {
      what: 'Previews that one user waits for',
      most: String(URL_PREVIEWS_MAX_WAITING),
      beyond: '429 `M_LIMIT_EXCEEDED`',
      metric: 'tsudoi_url_previews_waiting',
    },
    {
      what: 'What is read of a page for its preview',
      most: `${MAX_ELEMENTS} elements; ${PREVIEW_FIELDS_MAX_FIELDS} facts of ${PREVIEW_FIELDS_MAX_LENGTH} characters are told`,
      beyond: 'the rest is left out',
    },
    {
      what: '`robots.txt` of a site',
      most: `${inBytes(ROBOTS_RULES_MAX_BYTES)}; ${ROBOTS_RULES_MAX_NAMES} names of robots in a group`,
      beyond: 'the rest is not read',
    },
    {
      what: 'Steps that the push rules of all members of a room may take for one event',
      most: `${CLASSIFIER_MAX_STEPS}; ${MAX_STEPS_FOR_NAMES} for finding their names in it`,
      beyond: 'members whose rules would take more are notified as by the default rules',
    },
    {
      what: 'Pushes that wait in memory',
      most: `${HELD_PUSHES_MAX_HELD} and ${inBytes(MAX_HELD_BYTES)}; ${PENDING_PUSHES_MAX_ENTRIES} of one pusher`,
      beyond: 'the others are read from the database when it is their turn',
      metric: 'tsudoi_pushers_waiting',
    },
    {
      what: 'Requests to one push gateway at the same time',
      most: `${MAX_AT_ONCE}; ${MAX_WHILE_AWAY} while it does not answer`,
      beyond: 'they wait',
      metric: 'tsudoi_pushers_waiting',
    },
  ],
};
