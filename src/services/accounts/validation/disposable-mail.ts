import { domainToASCII } from 'node:url';

/**
 * Whether a mail address belongs to a service of disposable addresses, by a list of their domains (subdomains included). The list is loaded
 * when it is first needed.
 */
export const isDisposable = async (address: string): Promise<boolean> => {
  const { default: list } = await import('disposable-email-domains-js');
  const domains = list.disposableEmailBlocklistSet();
  const labels = domainToASCII(address.slice(address.lastIndexOf('@') + 1)).split('.');
  return labels.some((_, index) => domains.has(labels.slice(index).join('.')));
};
