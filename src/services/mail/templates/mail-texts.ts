import type { Block, MailContent } from './content.ts';

/** What the text of every mail is given. */
export interface MailFacts {
  /** What the mail calls this server. */
  readonly service: string;
}

export interface LinkFacts extends MailFacts {
  readonly address: string;
  readonly url: string;
  /** For how long the link is good. */
  readonly minutes: number;
}

export interface TakenFacts extends MailFacts {
  readonly address: string;
  readonly userId: string;
}

export interface InvitationFacts extends MailFacts {
  readonly address: string;
  readonly inviter: string;
  readonly inviterId: string;
  /** Empty for one without a name. */
  readonly room: string;
  readonly url: string;
}

export interface LoginFacts extends MailFacts {
  readonly userId: string;
  /** Name of the device, or its id. */
  readonly device: string;
  readonly time: string;
  readonly ip: string;
}

export interface ExpiryFacts extends MailFacts {
  readonly userId: string;
  readonly time: string;
  readonly url: string;
}

export interface DigestFacts extends MailFacts {
  readonly userId: string;
  /** The room that the mail is about, where it is one alone. */
  readonly room: string | undefined;
  /** The sender, where there is only one. */
  readonly sender: string | undefined;
  readonly rooms: readonly Block[];
  readonly unsubscribeUrl: string;
}

/** All mails, in one language. */
export interface MailTexts {
  readonly registration: (facts: LinkFacts) => MailContent;
  readonly addition: (facts: LinkFacts) => MailContent;
  readonly passwordReset: (facts: LinkFacts & { readonly userId: string }) => MailContent;
  readonly addressTaken: (facts: TakenFacts) => MailContent;
  readonly invitation: (facts: InvitationFacts) => MailContent;
  readonly newLogin: (facts: LoginFacts) => MailContent;
  readonly expiry: (facts: ExpiryFacts) => MailContent;
  readonly digest: (facts: DigestFacts) => MailContent;
  /** Texts within a digest. */
  readonly encryptedMessage: string;
  readonly sentImage: string;
  readonly sentFile: string;
  readonly sentVideo: string;
  readonly sentAudio: string;
  readonly invitedYou: string;
  readonly otherEvent: string;
  readonly moreMessages: (count: number) => string;
}
