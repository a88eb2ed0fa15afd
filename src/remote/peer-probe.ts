import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';

const TIMEOUT_MS = 8_000;
const MAX_BYTES = 262_144;

/** The answer of a server. */
export interface Answered {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  /** When its certificate expires, in milliseconds since the epoch; undefined without TLS. */
  readonly certificateUntil: number | undefined;
}

export interface Asked {
  readonly url: string;
  /** Certificate authorities in PEM; undefined: the system's. */
  readonly certificateAuthorities?: readonly string[] | undefined;
  /** The value of `Host` and the name of the certificate, where these are not the URL's. */
  readonly hostHeader?: string | undefined;
  readonly tlsName?: string | undefined;
}

/** Makes one request on a connection of its own, bounded in time and bytes. @throws with a reason for the operator */
export const ask = ({ certificateAuthorities, hostHeader, tlsName, url }: Asked): Promise<Answered> =>
  new Promise((resolve, reject) => {
    const target = new URL(url);
    const isTls = target.protocol === 'https:';
    const name = tlsName ?? target.hostname.replace(/^\[|\]$/g, '');
    const options = {
      agent: false as const,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: { ...(hostHeader === undefined ? {} : { Host: hostHeader }), 'User-Agent': 'Tsudoi doctor' },
      ...(isTls && isIP(name) === 0 ? { servername: name } : {}),
      ...(certificateAuthorities === undefined ? {} : { ca: [...certificateAuthorities] }),
    };
    const sent = (isTls ? httpsRequest : httpRequest)(target, options, (response) => {
      const socket = response.socket as TLSSocket;
      const until = isTls ? socket.getPeerX509Certificate()?.validToDate.getTime() : undefined;
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > MAX_BYTES) sent.destroy(new Error('the answer is too large'));
        else parts.push(part);
      });
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(parts).toString(),
          certificateUntil: until,
        }),
      );
      response.on('error', (error) => reject(new Error(reasonOf(error))));
    });
    sent.on('error', (error) => reject(new Error(reasonOf(error))));
    sent.end();
  });

const SENTENCES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there',
  ENOTFOUND: 'the name is not known to DNS',
  EAI_AGAIN: 'DNS does not answer',
  ETIMEDOUT: 'nobody answers in time: a firewall may be in between',
  ABORT_ERR: 'nobody answers in time: a firewall may be in between',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another name',
  CERT_HAS_EXPIRED: 'the certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is signed by itself, which nobody believes',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'the certificate comes without the ones between it and its authority (use the full chain)',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate is of an authority that is not trusted',
};

const reasonOf = (error: Error): string => {
  const { code = '' } = error as { code?: string };
  const cause = error.name === 'TimeoutError' || error.name === 'AbortError' ? 'ABORT_ERR' : code;
  return SENTENCES[cause] ?? `${error.message}${code === '' ? '' : ` (${code})`}`;
};
