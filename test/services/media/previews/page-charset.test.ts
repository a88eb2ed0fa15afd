import { expect } from 'chai';
import fc from 'fast-check';
import { charsetOf } from '#src/services/media/previews/page-charset.ts';

const WORDS = '集いの日本語ページ、テストです';
const ENCODED = {
  shift_jis: '8f5782a282cc93fa967b8cea8379815b8357814183658358836782c582b7',
  'euc-jp': 'bdb8a4a4a4cec6fccbdcb8eca5daa1bca5b8a1a2a5c6a5b9a5c8a4c7a4b9',
  'iso-2022-jp': '1b24423d382424244e467c4b5c386c255a213c25382122254625392548244724391b2842',
} as const;
const bytesOf = (charset: keyof typeof ENCODED): Buffer => Buffer.from(ENCODED[charset], 'hex');
const page = (head: string, words: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`<html><head>${head}<title>`), words, Buffer.from('</title></head><body></body></html>')]);
const read = (bytes: Uint8Array, contentType?: string): string =>
  new TextDecoder(charsetOf(bytes, contentType)).decode(bytes);

describe('the characters of a page', () => {
  for (const charset of ['shift_jis', 'euc-jp', 'iso-2022-jp'] as const) {
    const words = bytesOf(charset);
    it(`are ${charset} by the header`, () => {
      expect(read(page('', words), `text/html; charset=${charset}`)).to.include(WORDS);
      expect(read(page('', words), `text/html;charset="${charset.toUpperCase()}"`)).to.include(WORDS);
    });
    it(`are ${charset} by what the page says, in either form`, () => {
      for (const head of [
        `<meta charset="${charset}">`,
        `<meta charset=${charset}>`,
        `<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=${charset}">`,
      ])
        expect(read(page(head, words), 'text/html'), head).to.include(WORDS);
      const xml = Buffer.concat([Buffer.from(`<?xml version="1.0" encoding="${charset}"?>`), page('', words)]);
      expect(read(xml, 'application/xhtml+xml')).to.include(WORDS);
    });
    it(`are ${charset} by the bytes alone`, () => {
      expect(read(page('', words))).to.include(WORDS);
      expect(read(page('<meta charset="no-such-thing">', words), 'text/html; charset=neither')).to.include(WORDS);
    });
    it(`are ${charset} though header or page say what they cannot be`, () => {
      expect(read(page('', words), 'text/html; charset=utf-8')).to.include(WORDS);
      expect(read(page(`<meta charset="${charset}">`, words), 'text/html; charset=iso-8859-1')).to.include(WORDS);
    });
    it(`are ${charset} where the page is cut in the middle of one`, () => {
      const whole = page(`<meta charset="${charset}">`, words);
      const cut = whole.subarray(0, whole.indexOf(words) + words.length - 4);
      expect(charsetOf(cut, undefined)).to.equal(charset);
    });
  }

  it('follow the byte order mark, whatever else is said', () => {
    const utf8 = Buffer.from(`\ufeff<meta charset="shift_jis"><title>${WORDS}`);
    expect(read(utf8, 'text/html; charset=euc-jp')).to.include(WORDS);
    const utf16 = Buffer.from(`\ufeff<title>${WORDS}`, 'utf16le');
    expect(read(utf16, 'text/html')).to.include(WORDS);
    expect(read(Buffer.from(utf16).swap16(), 'text/html; charset=utf-8')).to.include(WORDS);
  });
  it('are UTF-8 where nothing is said and they can be', () => {
    expect(charsetOf(Buffer.from(`<title>${WORDS}`), undefined)).to.equal('utf-8');
    expect(charsetOf(Buffer.from('<title>plain'), 'text/html')).to.equal('utf-8');
    expect(charsetOf(Buffer.from('<meta charset="utf-16"><title>plain'), 'text/html')).to.equal('utf-8');
  });
  it('are those of Western Europe where they are no others', () => {
    expect(read(Buffer.from('<title>Caf\u00e9 d\u00e9j\u00e0 vu', 'latin1'))).to.include('Café déjà vu');
  });
  it('are of some encoding that can be decoded, whatever the bytes and what is said of them', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.option(fc.string(), { nil: undefined }), (bytes, said) => {
        const label = charsetOf(bytes, said === undefined ? undefined : `text/html; charset=${said}`);
        expect(new TextDecoder(label).decode(bytes)).to.be.a('string');
      }),
    );
  });
});
