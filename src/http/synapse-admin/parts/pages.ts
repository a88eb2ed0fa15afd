import { Type } from 'typebox';

/** Maximum length of a page. */
export const MAX = 1_000;
const USUAL = 100;

/** How lists are paged: by an offset. */
export const offsetQuery = {
  from: Type.Optional(Type.Integer({ minimum: 0, maximum: 2_147_483_647 })),
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
};

/** From the first to the last, or back. */
export const direction = Type.Optional(Type.Enum(['f', 'b']));

export const pageOf = ({
  from = 0,
  limit = USUAL,
}: {
  readonly from?: number | undefined;
  readonly limit?: number | undefined;
}) => ({
  offset: from,
  limit: Math.min(limit, MAX),
});

/** Where the next page begins; undefined at the end. */
export const nextOffset = (
  { limit, offset }: ReturnType<typeof pageOf>,
  shown: number,
  total: number,
): number | undefined => (offset + limit < total ? offset + shown : undefined);
