/** A message as a mail shows it. */
export interface ShownMessage {
  readonly sender: string;
  readonly text: string;
  /** When, in words. */
  readonly time: string;
}

/** A part of a mail. All texts are plain: the HTML writer escapes them. */
export type Block =
  | { readonly kind: 'text' | 'small'; readonly text: string }
  | { readonly kind: 'button'; readonly label: string; readonly url: string }
  | { readonly kind: 'facts'; readonly entries: readonly (readonly [label: string, value: string])[] }
  | {
      readonly kind: 'room';
      readonly name: string;
      readonly url: string;
      readonly messages: readonly ShownMessage[];
      /** What there is beside these; empty for nothing. */
      readonly more: string;
    };

/** The content of a mail, in one language. */
export interface MailContent {
  readonly subject: string;
  /** What mail programs show beside the subject. */
  readonly preview: string;
  readonly heading: string;
  readonly blocks: readonly Block[];
  /** Why it was sent. */
  readonly reason: string;
  /** The link that unsubscribes from such mails. */
  readonly unsubscribe?: { readonly label: string; readonly url: string };
}

export const paragraph = (text: string): Block => ({ kind: 'text', text });
export const small = (text: string): Block => ({ kind: 'small', text });
export const button = (label: string, url: string): Block => ({ kind: 'button', label, url });
export const facts = (...entries: readonly (readonly [string, string])[]): Block => ({ kind: 'facts', entries });
