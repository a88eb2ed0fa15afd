import { Type } from 'typebox';

export const reportParams = Type.Object({
  report_id: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
});
