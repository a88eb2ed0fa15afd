import { Type } from 'typebox';

/** The signed keys of a server. */
export const serverKeys = Type.Object({
  server_name: Type.String(),
  valid_until_ts: Type.Integer(),
  verify_keys: Type.Record(Type.String(), Type.Object({ key: Type.String() })),
  old_verify_keys: Type.Optional(
    Type.Record(Type.String(), Type.Object({ expired_ts: Type.Integer(), key: Type.String() })),
  ),
  signatures: Type.Record(Type.String(), Type.Record(Type.String(), Type.String())),
});
