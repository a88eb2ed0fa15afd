import { publishedSchema } from './config/published-schema.ts';

/** The files of this project that are made from its code, by path. `npm run generate` writes them; a test fails when one is stale. */
export function generatedFiles(): ReadonlyMap<string, string> {
  return new Map([['config/schema.json', publishedSchema()]]);
}
