import { Lazy } from '#src/kernel/caches/lazy.ts';
import { domainToASCII } from 'node:url';

/** The package makes a new set of a hundred thousand names each time it is asked. */
const domains = new Lazy<ReadonlySet<string>>(async () => {
  const { default: list } = await import('disposable-email-domains-js');
  return list.disposableEmailBlocklistSet();
});

/** The domains of services of disposable addresses. They are loaded when they are first needed, and the same set from then on. */
export const disposableDomains = (): Promise<ReadonlySet<string>> => domains.get();

/** Whether a mail address belongs to a service of disposable addresses, by a list of their domains (subdomains included). */
export const isDisposable = async (address: string): Promise<boolean> => {
  const listed = await disposableDomains();
  const labels = domainToASCII(address.slice(address.lastIndexOf('@') + 1)).split('.');
  return labels.some((_, index) => listed.has(labels.slice(index).join('.')));
};
