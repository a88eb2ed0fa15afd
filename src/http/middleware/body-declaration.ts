import type { Readable } from 'node:stream';
import type { Static, TObject, TSchema } from 'typebox';

/** Bytes that a body may have: a number, or what the operator configured for uploads. */
export type BodyLimit = number | 'upload';

/** A body of `application/x-www-form-urlencoded`. Its members are converted and checked like those of a query. */
export class FormBody<F extends TObject = TObject> {
  readonly schema: F;

  constructor(schema: F) {
    this.schema = schema;
  }
}

/** A body of any type, handed over in one piece. */
export class RawBody {
  readonly kind = 'raw';
  readonly maxBytes: BodyLimit;

  constructor(maxBytes: BodyLimit) {
    this.maxBytes = maxBytes;
  }
}

/** A body of any type, handed over as it arrives. The stream fails with M_TOO_LARGE where it is longer than `maxBytes`. */
export class StreamBody {
  readonly kind = 'stream';
  readonly maxBytes: BodyLimit;

  constructor(maxBytes: BodyLimit) {
    this.maxBytes = maxBytes;
  }
}

/** The body of a request: a schema stands for JSON. */
export type BodyDeclaration = TSchema | FormBody | RawBody | StreamBody;

/** What a handler is given of it. */
export type BodyOf<B> =
  B extends FormBody<infer F>
    ? Static<F>
    : B extends RawBody
      ? Buffer
      : B extends StreamBody
        ? Readable
        : B extends TSchema
          ? Static<B>
          : undefined;
