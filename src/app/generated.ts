import { accessDocuments } from '#src/http/access-documents.ts';
import { openapiDocuments } from '#src/http/openapi.ts';
import { asyncApiDocument } from '#src/ws/asyncapi.ts';
import { publishedSchema } from './config/published-schema.ts';
import { ENDPOINTS } from './endpoints.ts';
import { limitsDocument } from './limits/limits-document.ts';
import { mailPreviews } from './mail-previews.ts';

/** The files of this project that are made from its code, by path. `npm run generate` writes them; a test fails when one is stale. */
export function generatedFiles(): ReadonlyMap<string, string> {
  const documents = [...openapiDocuments(ENDPOINTS)].map(([name, text]) => [`spec/${name}`, text] as const);
  const tables = [...accessDocuments(ENDPOINTS)].map(([name, text]) => [`docs/${name}`, text] as const);
  return new Map([
    ['config/schema.json', publishedSchema()],
    ['docs/limits.md', limitsDocument()],
    ['spec/websocket.asyncapi.json', asyncApiDocument()],
    ...mailPreviews(),
    ...documents,
    ...tables,
  ]);
}
