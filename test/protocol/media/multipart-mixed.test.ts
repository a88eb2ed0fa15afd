import { expect } from 'chai';
import fc from 'fast-check';
import { contentDisposition, filenameIn } from '#src/protocol/media/content-disposition.ts';
import { boundaryOf, MixedFault, MixedReader } from '#src/protocol/media/multipart-mixed.ts';

interface Part {
  readonly headers: Readonly<Record<string, string>>;
  content: string;
}

/** Reads a body that comes in these pieces. */
const parts = (boundary: string, chunks: readonly Buffer[]): Part[] => {
  const reader = new MixedReader(boundary);
  const found: Part[] = [];
  for (const token of chunks.flatMap((chunk) => reader.read(chunk))) {
    if (token.kind === 'part') found.push({ headers: Object.fromEntries(token.headers), content: '' });
    const last = found.at(-1);
    if (token.kind === 'bytes' && last !== undefined) last.content += token.bytes.toString('latin1');
  }
  reader.end();
  return found;
};

const inPieces = (text: string, size: number): Buffer[] => {
  const bytes = Buffer.from(text, 'latin1');
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size));
};

const SYNAPSE =
  '\r\n--b0\r\nContent-Type: application/json\r\n\r\n{}\r\n--b0\r\nContent-Type: text/plain\r\n' +
  'Content-Disposition: inline; filename=a.txt\r\n\r\nsome text\r\n--b0--\r\n\r\n';

describe('multipart/mixed', () => {
  it('is read part by part, wherever it is cut', () => {
    for (let size = 1; size <= SYNAPSE.length; size += 1)
      expect(parts('b0', inPieces(SYNAPSE, size))).to.deep.equal([
        { headers: { 'content-type': 'application/json' }, content: '{}' },
        {
          headers: { 'content-type': 'text/plain', 'content-disposition': 'inline; filename=a.txt' },
          content: 'some text',
        },
      ]);
  });

  it('holds any content that does not hold the boundary, in any pieces', () => {
    const content = fc.array(fc.constantFrom('\r', '\n', '-', 'b', '0', '\r\n--b', ' ', 'x', '\u00ff'), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(content, content, fc.integer({ min: 1, max: 30 }), (first, second, size) => {
        const [one, two] = [first.join(''), second.join('')];
        fc.pre(!`\r\n${one}`.includes('\r\n--b0') && !`\r\n${two}`.includes('\r\n--b0'));
        const body = `--b0\r\n\r\n${one}\r\n--b0 \t\r\nA: b\r\n\r\n${two}\r\n--b0--`;
        expect(parts('b0', inPieces(body, size))).to.deep.equal([
          { headers: {}, content: one },
          { headers: { a: 'b' }, content: two },
        ]);
      }),
    );
  });

  it('may have parts of headers only, and lines that only begin like the boundary', () => {
    for (const end of ['\r\n\r\n\r\n--b0--', '\r\n\r\n--b0--', '\r\n--b0--'])
      expect(parts('b0', inPieces(`--b0\r\nLocation: https://x/${end}`, 3))).to.deep.equal([
        { headers: { location: 'https://x/' }, content: '' },
      ]);
    expect(parts('b0', [Buffer.from('--b0\r\n\r\na\r\n--b0x\r\nb\r\n--b0--')])).to.deep.equal([
      { headers: {}, content: 'a\r\n--b0x\r\nb' },
    ]);
  });

  it('is refused when it has no end, too many headers, or anything long before its first boundary', () => {
    const faulty = [
      '--b0\r\n\r\nabc',
      '--b0\r\n\r\nabc\r\n--b0\r\n\r\n',
      `--b0\r\n${'A: b\r\n'.repeat(2_000)}\r\n\r\n--b0--`,
      `${'x'.repeat(20_000)}\r\n--b0\r\n\r\n\r\n--b0--`,
      '',
    ];
    for (const body of faulty) expect(() => parts('b0', inPieces(body, 1_000)), body.slice(0, 40)).to.throw(MixedFault);
  });

  it('names its boundary, quoted or not', () => {
    expect(boundaryOf('multipart/mixed; boundary=abc')).to.equal('abc');
    expect(boundaryOf('Multipart/Mixed; charset=utf-8; boundary="a b:c"')).to.equal('a b:c');
    for (const type of [
      undefined,
      'multipart/mixed',
      'multipart/form-data; boundary=abc',
      'text/plain; boundary=a',
      'multipart/mixed; boundary=""',
    ])
      expect(boundaryOf(type), type).to.equal(undefined);
  });
});

describe('the name in a Content-Disposition', () => {
  it('is the one that was written there, whatever its characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (name) => {
        fc.pre(!/[/\\]/.test(name) && name.isWellFormed());
        expect(filenameIn(contentDisposition('text/plain', name))).to.equal(name);
      }),
    );
  });

  it('is read without directories, in UTF-8 where it is that, and not at all where there is none', () => {
    expect(filenameIn('attachment; filename="../../etc/passwd"')).to.equal('passwd');
    expect(filenameIn(String.raw`attachment; filename="C:\\temp\\a.txt"`)).to.equal('a.txt');
    expect(filenameIn(`inline; filename="${Buffer.from('集い.png').toString('latin1')}"`)).to.equal('集い.png');
    expect(filenameIn("inline; filename=plain.png; filename*=utf-8''%E9%9B%86.png")).to.equal('集.png');
    expect(filenameIn("inline; filename=plain.png; filename*=utf-8''%E9%9.png")).to.equal('plain.png');
    for (const header of [undefined, '', 'inline', 'attachment; filename=', 'attachment; filename="a/"'])
      expect(filenameIn(header), header).to.equal(undefined);
  });
});
