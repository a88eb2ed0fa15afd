import { join } from 'node:path';

/** A certificate in PEM of `localhost` and `127.0.0.1`, which signed itself: whoever trusts it as an authority trusts its servers. */
export const LOOPBACK_CERTIFICATE = join(import.meta.dirname, 'certificates', 'loopback.crt');
/** Its private key. */
export const LOOPBACK_KEY = join(import.meta.dirname, 'certificates', 'loopback.key');
