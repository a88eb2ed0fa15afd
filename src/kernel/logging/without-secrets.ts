// Each of these looks at no character more than a few times, whatever the text is.
const URL_LOGIN = /:\/\/[^\s/?#@"']+@/g;
const URL_QUERY = /(\S)\?[^\s"'<>)]+/g;
const CREDENTIALS = /\b(Bearer|Basic|X-Matrix) +[^\r\n"']+/gi;
const NAMED =
  /((?:token|passwd|password|passphrase|secret|api_?key|authorization|cookie|mac|signature)\\?["']?\s?[:=]\s?)(?:"[^"]*"?|'[^']*'?|\\"[^"]*"?|[^\s"',;&}\])]+)/gi;
/** Two long runs of letters and digits with a dot in between, as in signed tokens. */
const SIGNED = /(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}(?:\.[A-Za-z0-9_-]+)?/g;

/** Refresh tokens and the like, which begin with a word of ours. */
const OURS = /\btd[a-z]{1,3}_[A-Za-z0-9_-]{8,}/g;

/** Names of fields whose values are never shown. */
const SECRET_NAME = /token|passw|passphrase|secret|authorization|cookie|signature|private|^key$|_key$|mac$/i;

/** What stands for what was taken out. */
const OUT = '…';

/** Whether what has this name is never shown. */
export const isSecretName = (name: string): boolean => SECRET_NAME.test(name);

/**
 * A text of a log without what may be secret in it: queries and logins of URLs, credentials of HTTP headers, signed tokens, and what
 * stands behind a word such as `token` or `password`. It takes out too much rather than too little.
 */
export const withoutSecrets = (text: string): string =>
  text
    .replace(URL_LOGIN, `://${OUT}@`)
    .replace(URL_QUERY, `$1?${OUT}`)
    .replace(CREDENTIALS, `$1 ${OUT}`)
    .replace(NAMED, `$1${OUT}`)
    .replace(SIGNED, OUT)
    .replace(OURS, OUT);
