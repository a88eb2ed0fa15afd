import type { TSchema } from 'typebox';

/** A schema as plain JSON: what TypeBox keeps for the type checker falls away. */
export const plainSchema = (schema: TSchema): Record<string, unknown> =>
  JSON.parse(JSON.stringify(schema)) as Record<string, unknown>;
