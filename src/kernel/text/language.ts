/** Languages of mails, pages and notices. */
export const LANGUAGES = ['en', 'ja'] as const;

export type Language = (typeof LANGUAGES)[number];

/** The language of a tag (`ja`, `ja-JP`, `EN_us`); undefined where the server does not speak it. RFC 5646. */
export const languageOf = (tag: string | undefined | null): Language | undefined => {
  const primary = tag?.trim().slice(0, 35).toLowerCase().split(/[-_]/)[0];
  return LANGUAGES.find((language) => language === primary);
};

const QUALITY = /^(0(\.\d{0,3})?|1(\.0{0,3})?)$/;
/** Entries of `Accept-Language` that are looked at. */
const MAX_ENTRIES = 20;

/** The language that the client that sent the header prefers among those that the server speaks. RFC 9110, 12.5.4. */
export const acceptedLanguage = (header: string | undefined): Language | undefined => {
  let best: { readonly language: Language; readonly weight: number } | undefined;
  for (const entry of (header ?? '').split(',', MAX_ENTRIES)) {
    const [tag = '', ...parameters] = entry.split(';');
    const language = languageOf(tag);
    const quality = parameters.map((one) => /^\s*q\s*=\s*(.*?)\s*$/i.exec(one)?.[1]).find((one) => one !== undefined);
    const weight = quality === undefined ? 1 : QUALITY.test(quality) ? Number(quality) : 0;
    if (language !== undefined && weight > (best?.weight ?? 0)) best = { language, weight };
  }
  return best?.language;
};
