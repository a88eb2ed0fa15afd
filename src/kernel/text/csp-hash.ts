import { hash } from 'node:crypto';

/** How a Content-Security-Policy names an inline style sheet or script that it allows. CSP Level 3, 2.3.1, `hash-source`. */
export const cspHash = (text: string): string => `'sha256-${hash('sha256', text, 'base64')}'`;
