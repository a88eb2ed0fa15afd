import { X509Certificate } from 'node:crypto';
import { access, constants, readFile, stat, statfs } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { parseServerName } from '#src/protocol/identifiers/server-name.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import { bad, type Check, type Finding, note, ok } from './finding.ts';
import { localAddress, type CliConfig, type CliPorts } from './ports.ts';

const OLDEST_NODE = 24;
const LITTLE_SPACE_BYTES = 1024 ** 3;
const TIMEOUT_MS = 5_000;
/** Milliseconds before the end of a certificate from which on it is told of. */
const SOON_MS = 7 * DAY_MS;

/** What was found of the server that takes our mail. */
const mail = (found: string | undefined): Finding =>
  found === undefined ? note('none is sent: email.smtp_url is not set') : ok(found);

/** What the doctor is asked for. */
export interface DoctorOptions {
  readonly url: string | undefined;
  /** One JSON object at the end, for programs, instead of lines. */
  readonly json: boolean;
}

/**
 * Looks at one thing after the other and explains what it finds.
 *
 * @returns 0 if nothing is wrong, else 1
 */
export async function doctor(ports: CliPorts, files: readonly string[], { json, url }: DoctorOptions): Promise<number> {
  const checks: Check[] = [];
  const report = (what: string, finding: Finding): void => {
    checks.push({ what, ...finding });
    const mark = { ok: 'ok  ', note: 'note', bad: 'BAD ' }[finding.verdict];
    if (!json) ports.out(`${mark}  ${what}: ${finding.text}\n`);
  };
  await examine(ports, files, url, report);
  const isWell = checks.every(({ verdict }) => verdict !== 'bad');
  const shown = checks.map(({ text, verdict, what }) => ({ check: what, verdict, text }));
  if (json) ports.out(`${JSON.stringify({ ok: isWell, checks: shown }, undefined, 2)}\n`);
  return isWell ? 0 : 1;
}

async function examine(
  ports: CliPorts,
  files: readonly string[],
  url: string | undefined,
  report: (what: string, finding: Finding) => void,
): Promise<void> {
  report('node', nodeVersion(ports.nodeVersion));
  let config: CliConfig;
  try {
    config = ports.loadConfig(files);
  } catch (error) {
    report('configuration', bad((error as Error).message));
    return;
  }
  report('configuration', ok(`good, server_name is ${config.serverName}`));
  report('data_dir', await dataDirectory(config.dataDir));
  report('database', await ports.probeDatabase(config.database.url).then(ok, (error: Error) => bad(error.message)));
  report('mail', await ports.probeMail(files).then(mail, (error: Error) => bad(error.message)));
  report('federation', await federation(config, ports.now()));
  report('server', await runningServer(url ?? localAddress(config)));
  if (config.publicBaseUrl !== null) report('public_base_url', await runningServer(config.publicBaseUrl));
  try {
    for (const { what, ...finding } of await ports.inspect(files)) report(what, finding);
  } catch (error) {
    report('machine and network', bad(`they could not be looked at: ${(error as Error).message}`));
  }
}

function nodeVersion(version: string): Finding {
  const major = Number(/^v(\d+)/.exec(version)?.[1]);
  return major >= OLDEST_NODE
    ? ok(version)
    : bad(
        `${version} is too old; start with npm start or bin/tsudoi, which use the Node ${OLDEST_NODE} that npm ci installed`,
      );
}

async function dataDirectory(path: string): Promise<Finding> {
  const folder = resolve(path);
  const isThere = await stat(folder).then(
    (found) => found.isDirectory(),
    () => undefined,
  );
  if (isThere === false) return bad(`${folder} is a file, not a directory`);
  const existing = isThere === undefined ? dirname(folder) : folder;
  try {
    await access(existing, constants.W_OK | constants.X_OK);
  } catch (error) {
    return isThere === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT'
      ? note(`${folder} is not there yet, nor is the folder around it; both are made at the first start`)
      : bad(`${existing} cannot be written to by this user`);
  }
  const { bavail, bsize } = await statfs(existing);
  const free = bavail * bsize;
  const space = `${(free / 1024 ** 3).toFixed(1)} GiB free`;
  if (free < LITTLE_SPACE_BYTES)
    return bad(`${folder} is nearly full: ${space}. Make room: when the disk is full, nothing can be sent`);
  return isThere === undefined ? note(`${folder} is made at the first start, ${space}`) : ok(`${folder}, ${space}`);
}

/** Whether other servers will believe that this one has its name. */
async function federation(
  { federation: { enabled }, serverName, tls, wellKnown }: CliConfig,
  now: number,
): Promise<Finding> {
  if (!enabled) return note('off: this server talks to no other');
  const name = parseServerName(wellKnown.server ?? serverName);
  if (tls.certFile === null)
    return note(`tls.cert_file is not set: a reverse proxy has to have a certificate for ${name?.host ?? serverName}`);
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(await readFile(tls.certFile));
  } catch (error) {
    return bad(`${tls.certFile} holds no certificate that can be read (${(error as Error).message})`);
  }
  const host = name?.host.replace(/^\[|\]$/g, '') ?? serverName;
  const isForName = (name?.kind === 'dns' ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined;
  if (!isForName) return bad(`the certificate in ${tls.certFile} is not for ${host}, as other servers want it to be`);
  const until = certificate.validToDate;
  if (until.getTime() < now)
    return bad(
      `the certificate in ${tls.certFile} has expired: ${certificate.validTo}. Renew it, and send the server SIGHUP`,
    );
  return until.getTime() - now < SOON_MS
    ? bad(
        `the certificate in ${tls.certFile} expires soon: ${certificate.validTo}. Renew it, and send the server SIGHUP`,
      )
    : ok(`the certificate is for ${host}, until ${certificate.validTo}`);
}

async function runningServer(address: string): Promise<Finding> {
  const url = `${address.replace(/\/+$/, '')}/_matrix/client/versions`;
  let response: Response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    const cause = (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).message;
    return cause === 'ECONNREFUSED'
      ? note(`nothing listens at ${address}: the server is not running, or --url names another address`)
      : bad(`${url} does not answer (${cause})`);
  }
  const body = (await response.json().catch(() => undefined)) as { versions?: unknown } | undefined;
  if (response.status !== 200 || !Array.isArray(body?.versions)) {
    return bad(
      `${url} answers ${response.status} and not what a homeserver says: does something else listen there, or a proxy rewrite paths?`,
    );
  }
  return ok(`answers at ${address} and speaks ${String(body.versions.at(-1))}`);
}
