/**
 * The form in which texts are compared in a search: width, case, kind of kana and Latin accents make no difference, and
 * whatever is neither letter, digit nor pictogram is one space.
 */

/** Invisible: variation selectors, joiners, zero-width spaces, soft hyphens, direction marks. */
const INVISIBLE = /\p{Default_Ignorable_Code_Point}+/gu;
const SEPARATORS = /[^\p{L}\p{M}\p{N}\p{So}\p{Extended_Pictographic}\p{Emoji_Modifier}]+/gu;
const ASCII_SEPARATORS = /[^a-z0-9]+/g;
// oxlint-disable-next-line no-control-regex
const ASCII = /^[\x00-\x7f]*$/;
const MAY_HAVE_ACCENTS = /[\u00c0-\u024f\u1e00-\u1eff]|\p{Mn}/u;
const ACCENTED_LATIN = /([a-z])\p{Mn}+/gu;
/** Katakana that have a hiragana of the same sound, and their iteration marks. */
const KATAKANA = /[\u30a1-\u30f6\u30fd\u30fe]/g;
const KATAKANA_TO_HIRAGANA = 0x60;

/**
 * Folds a text: NFKC (half-width kana, full-width Latin), lower case, Latin letters without accents, katakana as hiragana, one space
 * for everything between words, none at the ends. Folding twice is folding once.
 */
export const foldText = (text: string): string => {
  if (ASCII.test(text)) return text.toLowerCase().replace(ASCII_SEPARATORS, ' ').trim();
  let folded = text.normalize('NFKC').toLowerCase().replaceAll('ς', 'σ').replace(INVISIBLE, '');
  if (MAY_HAVE_ACCENTS.test(folded)) folded = folded.normalize('NFD').replace(ACCENTED_LATIN, '$1');
  return folded
    .normalize('NFC')
    .replace(KATAKANA, (kana) => String.fromCharCode(kana.charCodeAt(0) - KATAKANA_TO_HIRAGANA))
    .replace(SEPARATORS, ' ')
    .trim();
};

/** Written without spaces between words, or (Hangul) with particles tied to them: looked for by parts of words. And pictograms. */
const UNSPACED =
  /[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Hang}\p{scx=Bopo}\p{scx=Yi}\p{scx=Thai}\p{scx=Lao}\p{scx=Khmr}\p{scx=Mymr}\p{scx=Tibt}\p{So}\p{Extended_Pictographic}\p{Emoji_Modifier}]/u;

/** Whether a character of a folded text belongs to a script in which words are not told apart by spaces. */
export const isUnspaced = (character: string): boolean => character > '\u007f' && UNSPACED.test(character);

/** A stretch of a folded text: a word, or characters of scripts without spaces. */
export interface Run {
  readonly isUnspaced: boolean;
  readonly characters: readonly string[];
}

/** The words and unspaced stretches of a folded text, in order. */
export const runsOf = (folded: string): Run[] => {
  const runs: Run[] = [];
  let characters: string[] = [];
  let unspaced = false;
  const end = (): void => {
    if (characters.length > 0) runs.push({ isUnspaced: unspaced, characters });
    characters = [];
  };
  for (const character of folded) {
    if (character === ' ') {
      end();
      continue;
    }
    const is = isUnspaced(character);
    if (is !== unspaced) end();
    unspaced = is;
    characters.push(character);
  }
  end();
  return runs;
};
