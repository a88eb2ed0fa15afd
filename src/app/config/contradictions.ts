import { createPublicKey } from 'node:crypto';
import { BlockList, isIP } from 'node:net';
import { isServerName } from '#src/protocol/identifiers/server-name.ts';
import { isLoopback } from '#src/kernel/network.ts';
import type { RawConfig } from './schema.ts';

/** A key whose value is valid by itself but contradicts another one. */
export interface Contradiction {
  readonly key: string;
  readonly problem: string;
}

/** Looks for mistakes that a schema cannot express. */
export function findContradictions(config: RawConfig): Contradiction[] {
  const found: Contradiction[] = [];
  const refuse = (key: string, problem: string): void => void found.push({ key, problem });

  if (!isServerName(config.server_name))
    refuse('server_name', 'must be a server name (example.org, or example.org:8448)');
  if (config.tls.cert_file !== null && config.tls.key_file === null) {
    refuse('tls.key_file', 'must be set, because tls.cert_file is: a certificate needs its private key');
  }
  if (config.tls.key_file !== null && config.tls.cert_file === null) {
    refuse('tls.cert_file', 'must be set, because tls.key_file is: a private key needs its certificate');
  }
  const sameHost = config.tls.bind === null || config.tls.bind === config.http.bind;
  if (config.tls.cert_file !== null && sameHost && config.http.port !== 0 && config.http.port === config.tls.port) {
    refuse('tls.port', `must differ from http.port, both are ${config.http.port}`);
  }
  if (config.media.store === 's3') {
    for (const name of ['endpoint', 'bucket', 'access_key_id', 'secret_access_key'] as const) {
      if (config.media.s3[name] === null) refuse(`media.s3.${name}`, 'must be set, because media.store is s3');
    }
  }
  if (config.jwt.enabled && config.jwt.key === null) refuse('jwt.key', 'must be set, because jwt.enabled is');
  if (config.jwt.key !== null && !config.jwt.algorithm.startsWith('HS') && !isPublicKey(config.jwt.key))
    refuse('jwt.key', `must be a public key or a certificate in PEM, because jwt.algorithm is ${config.jwt.algorithm}`);
  const { captcha, terms } = config.registration;
  for (const name of ['site_key', 'secret_key'] as const) {
    if (captcha.provider !== null && captcha[name] === null)
      refuse(`registration.captcha.${name}`, 'must be set, because registration.captcha.provider is');
  }
  for (const [name, { version, ...texts }] of Object.entries(terms)) {
    const key = `registration.terms.${name}`;
    if (typeof version !== 'string' || version === '') refuse(key, 'must have a version, as a text in quotes');
    if (Object.keys(texts).length === 0) refuse(key, 'must have at least one language: en: {name: ..., url: ...}');
    for (const [language, text] of Object.entries(texts))
      if (!isPolicyText(text))
        refuse(`${key}.${language}`, 'must have a name, and a url that begins with http:// or https://');
  }
  if (config.registration.requires_email && config.email.smtp_url === null) {
    refuse('registration.requires_email', 'needs email.smtp_url: without it no mail can be sent');
  }
  if (config.email.smtp_url !== null && config.email.from === null) {
    refuse('email.from', 'must be set, because email.smtp_url is');
  }
  findMailContradictions(config, refuse);
  if (config.sync.default_timeline_limit > config.sync.max_timeline_limit) {
    refuse(
      'sync.default_timeline_limit',
      `must not be above sync.max_timeline_limit (${config.sync.max_timeline_limit})`,
    );
  }
  if (config.presence.federate && !config.presence.enabled) {
    refuse('presence.federate', 'needs presence.enabled');
  }
  const networks = [
    ['http.trusted_proxies', config.http.trusted_proxies],
    ['metrics.allow_ip_ranges', config.metrics.allow_ip_ranges],
    ['federation.deny_ip_ranges', config.federation.deny_ip_ranges],
    ['federation.allow_ip_ranges', config.federation.allow_ip_ranges],
    ['previews.allow_ip_ranges', config.previews.allow_ip_ranges],
  ] as const;
  for (const [key, list] of networks) {
    for (const network of list) {
      if (!isNetwork(network))
        refuse(key, `holds ${network}, which is no IP address or network (10.0.0.0/8, fd00::/8)`);
    }
  }
  for (const address of config.dns.name_servers) {
    if (!isNameServer(address))
      refuse('dns.name_servers', `holds ${address}, which is no IP address, or IP address and port`);
  }
  for (const name of config.identity.trusted_servers) {
    if (!isServerName(name)) refuse('identity.trusted_servers', `holds ${name}, which is no host, or host:port`);
  }
  for (const [index, { type }] of config.rtc.transports.entries()) {
    if (typeof type !== 'string' || type === '')
      refuse(`rtc.transports.${index}`, 'must have a type (MSC4143), such as livekit');
  }
  const wellKnown = config.well_known;
  // A mistake in that key is reported there.
  const taken = [
    ['well_known.client', wellKnown.client, ['m.homeserver']],
    ['well_known.server_keys', wellKnown.server_keys, ['m.server']],
    ['well_known.support_keys', wellKnown.support_keys, ['contacts', 'support_page']],
    ['well_known.policy_server_keys', wellKnown.policy_server_keys, ['public_keys']],
  ] as const;
  for (const [key, keys, own] of taken) {
    for (const name of own) if (name in keys) refuse(key, `must not hold ${name}, which has a key of its own`);
  }
  for (const [index, name] of config.federation.key_servers.entries())
    if (!isServerName(name)) refuse(`federation.key_servers.${index}`, `must be a server name, but is ${name}`);
  for (const [name, target] of Object.entries(config.federation.static_hosts)) {
    if (!isServerName(name)) refuse(`federation.static_hosts.${name}`, 'is no server name');
    if (!isServerName(target)) refuse(`federation.static_hosts.${name}`, `must be host:port, but is ${target}`);
  }
  return found;
}

/** Names of this machine: connections to them do not leave it. */

function findMailContradictions({ email }: RawConfig, refuse: (key: string, problem: string) => void): void {
  if (email.smtp_url !== null) {
    const url = URL.canParse(email.smtp_url) ? new URL(email.smtp_url) : undefined;
    if (url === undefined || url.hostname === '') {
      refuse('email.smtp_url', 'must be smtp://host:port or smtps://host:port');
    } else {
      const isClear = url.protocol === 'smtp:' && email.starttls === 'none';
      const logsIn = email.username !== null || url.username !== '';
      if (isClear && logsIn && !isLoopback(url.hostname))
        refuse('email.starttls', 'must not be none: the password would pass the network as it stands');
    }
  }
  if ((email.username === null) !== (email.password === null))
    refuse(email.username === null ? 'email.username' : 'email.password', 'must be set, because the other one is');
  if (email.digests.first_pause_ms > email.digests.longest_pause_ms)
    refuse('email.digests.first_pause_ms', 'must not be above email.digests.longest_pause_ms');
}

function isNameServer(text: string): boolean {
  if (isIP(text) !== 0) return true;
  const [, six, four, port = '53'] = /^(?:\[(.*)\]|([0-9.]+))(?::(\d+))?$/.exec(text) ?? [];
  return (six === undefined ? isIP(four ?? '') === 4 : isIP(six) === 6) && Number(port) > 0 && Number(port) < 65_536;
}

function isNetwork(text: string): boolean {
  const [address = '', prefix] = text.split('/');
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  if (isIP(address) === 0) return false;
  if (prefix === undefined) return true;
  try {
    new BlockList().addSubnet(address, Number(prefix), family);
    return true;
  } catch {
    return false;
  }
}

function isPolicyText(text: unknown): boolean {
  if (typeof text !== 'object' || text === null) return false;
  const { name, url } = text as { name?: unknown; url?: unknown };
  return (
    typeof name === 'string' && name !== '' && typeof url === 'string' && /^https?:\/\//.test(url) && URL.canParse(url)
  );
}

function isPublicKey(pem: string): boolean {
  try {
    createPublicKey(pem);
    return true;
  } catch {
    return false;
  }
}
