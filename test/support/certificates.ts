import { join } from 'node:path';

/** A self-signed certificate in PEM for `localhost` and `127.0.0.1`: clients that trust it as an authority trust its servers. */
export const LOOPBACK_CERTIFICATE = join(import.meta.dirname, 'certificates', 'loopback.crt');
/** Its private key. */
export const LOOPBACK_KEY = join(import.meta.dirname, 'certificates', 'loopback.key');
