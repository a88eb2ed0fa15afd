/** Bytes of a page from which its encoding is detected where it declares none. */
const LOOKED_AT = 65_536;
/** Bytes within which a declaration counts. HTML requires it in the first 1024; pages in the wild have it later. */
const DECLARED_WITHIN = 4_096;

const BYTE_ORDER_MARKS: readonly (readonly [readonly number[], string])[] = [
  [[0xef, 0xbb, 0xbf], 'utf-8'],
  [[0xfe, 0xff], 'utf-16be'],
  [[0xff, 0xfe], 'utf-16le'],
];
/** Every sequence of bytes is valid in these, so that decoding proves nothing. */
const TAKES_EVERYTHING = /^(windows-12|iso-8859-|macintosh|koi8|x-mac)/;
const META = /<meta[^>]{0,1024}?charset\s*=\s*["']?\s*([\w.:-]{1,40})/i;
const XML = /^\s*<\?xml[^>]{0,256}?encoding\s*=\s*["']([\w.:-]{1,40})/i;
/** What switches to Japanese characters in ISO-2022-JP. */
const SWITCHES = ['$@', '$B', '(J', '(I', '$(D'].map((sequence) => `\u001b${sequence}`);

/**
 * The encoding in which a page is written, as `TextDecoder` takes it. What the byte order mark, the header and the page say is looked at in
 * this order, as the HTML Standard wants it; what the bytes cannot be is passed over, since many pages say what they are not. Where
 * nothing holds, the bytes themselves tell: ISO-2022-JP, UTF-8, EUC-JP or Shift_JIS.
 */
export const charsetOf = (bytes: Uint8Array, contentType: string | undefined): string => {
  const mark = BYTE_ORDER_MARKS.find(([start]) => start.every((byte, index) => bytes[index] === byte));
  if (mark !== undefined) return mark[1];
  const head = bytes.subarray(0, LOOKED_AT);
  // Nothing else has these characters, and readers without ISO-2022 take them for ASCII.
  if (switchesToJapanese(head)) return 'iso-2022-jp';
  const header = /charset\s*=\s*["']?\s*([\w.:-]{1,40})/i.exec(contentType ?? '')?.[1];
  const start = Buffer.from(head.subarray(0, DECLARED_WITHIN)).toString('latin1');
  const meta = (XML.exec(start) ?? META.exec(start))?.[1];
  const declared = [labelOf(header), asMeta(labelOf(meta))].filter((label) => label !== undefined);
  const fitting = declared.filter((label) => isText(head, label));
  // Servers add "charset=ISO-8859-1" to everything: a page that says better is believed.
  const certain = fitting.find((label) => !TAKES_EVERYTHING.test(label));
  return certain ?? fitting[0] ?? sniffed(head);
};

/** The canonical name of an encoding; undefined for one that is not known. */
const labelOf = (name: string | undefined): string | undefined => {
  if (name === undefined) return undefined;
  try {
    return new TextDecoder(name).encoding;
  } catch {
    return undefined;
  }
};

/** HTML Standard: a page that was read far enough to find this in it is not in UTF-16. */
const asMeta = (label: string | undefined): string | undefined =>
  label?.startsWith('utf-16') === true ? 'utf-8' : label;

/** Whether the bytes can be a text in an encoding. It may end in the middle of a character. */
const isText = (bytes: Uint8Array, label: string): boolean => textOf(bytes, label) !== undefined;

const textOf = (bytes: Uint8Array, label: string): string | undefined => {
  try {
    return new TextDecoder(label, { fatal: true }).decode(bytes, { stream: true });
  } catch {
    return undefined;
  }
};

const switchesToJapanese = (bytes: Uint8Array): boolean => {
  if (!SWITCHES.some((sequence) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(sequence)))
    return false;
  const text = textOf(bytes, 'iso-2022-jp');
  return text !== undefined && likeness(text) > 0;
};

const sniffed = (bytes: Uint8Array): string => {
  if (isText(bytes, 'utf-8')) return 'utf-8';
  const candidates = ['euc-jp', 'shift_jis'].flatMap((label) => {
    const text = textOf(bytes, label);
    return text === undefined ? [] : [{ label, score: likeness(text) }];
  });
  const best = candidates.toSorted((a, b) => b.score - a.score)[0];
  return best !== undefined && best.score > 0 ? best.label : 'windows-1252';
};

/** How much a text is like Japanese: kana are everywhere in it; halfwidth ones are what other encodings become when they are misread. */
const likeness = (text: string): number =>
  2 * count(text, /[\u3041-\u3096]/g) +
  count(text, /[\u30a1-\u30fc\u4e00-\u9fff\u3001\u3002]/g) -
  3 * count(text, /[\uff61-\uff9f\ue000-\uf8ff]/g);

const count = (text: string, characters: RegExp): number => text.match(characters)?.length ?? 0;
