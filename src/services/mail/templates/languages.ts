import type { Language } from '#src/kernel/text/language.ts';
import { en } from './en.ts';
import { ja } from './ja.ts';
import type { MailTexts } from './mail-texts.ts';

const TEXTS: Readonly<Record<Language, MailTexts>> = { en, ja };

/** The mails in a language. */
export const mailTexts = (language: Language): MailTexts => TEXTS[language];
