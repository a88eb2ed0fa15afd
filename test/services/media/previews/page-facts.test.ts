import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import { type PageFacts, readPage, shortened } from '#src/services/media/previews/page-facts.ts';
import { fieldsOf, oEmbedOf, picturesOf } from '#src/services/media/previews/preview-fields.ts';

const URL_OF_PAGE = new URL('https://site.test/a/page.html');
const read = (html: string): Promise<PageFacts> => readPage(Buffer.from(html), 'utf-8');
const fields = async (html: string) => fieldsOf(await read(html), URL_OF_PAGE);
const pictures = async (html: string): Promise<string[]> =>
  picturesOf(await read(html), URL_OF_PAGE).map(({ href }) => href);

describe('what a page says of itself', () => {
  it('is what its OpenGraph properties say, numbers as numbers, the first of each', async () => {
    expect(
      await fields(`<head>
        <meta property="og:title" content="An &amp; other">
        <meta property="og:title" content="Second">
        <meta property="OG:Site_Name" content=" Site ">
        <meta name="og:type" content="article">
        <meta property="og:video:width" content="1280">
        <meta property="og:video:height" content="tall">
        <meta property="og:url" content="/canonical">
        <meta property="og:image" content="x.png"><meta property="og:image:width" content="5">
        <meta property="og:bad name" content="x"><meta property="fb:app_id" content="1"></head>`),
    ).to.deep.equal({
      'og:title': 'An & other',
      'og:site_name': 'Site',
      'og:type': 'article',
      'og:video:width': 1280,
      'og:url': 'https://site.test/canonical',
    });
  });
  it('is what its Twitter card says, then what everybody sees', async () => {
    const card = '<meta name="twitter:title" content="Card"><meta name="twitter:description" content="of it">';
    expect(await fields(`<title>Title</title>${card}`)).to.deep.equal({
      'og:title': 'Card',
      'og:description': 'of it',
    });
    const plain = '<title> The\n title </title><meta name="Description" content="Said of it"><body><h1>Heading</h1>';
    expect(await fields(plain)).to.deep.equal({ 'og:title': 'The title', 'og:description': 'Said of it' });
    expect(await fields('<body><h1>Only <b>this</b></h1><p>short</p>')).to.deep.equal({ 'og:title': 'Only this' });
  });
  it('is what there is to read, without menus, scripts and styles', async () => {
    const text = (
      await fields(`<title>T</title><script>"<p>not this sentence</p>"</script><style>p{not this either at all}</style>
        <nav><p>A menu that is long enough to be a text</p></nav>
        <p>The first sentence of the page.</p><p>And the second one.</p><noscript><p>Please switch scripts on here</p></noscript>`)
    )['og:description'];
    expect(text).to.equal('The first sentence of the page.\nAnd the second one.');
  });
  it('names its pictures, the best first, from where its base says', async () => {
    expect(
      await pictures(`<base href="https://cdn.test/b/"><link rel="shortcut icon" href="i.ico"><link rel=image_src href=/src.png>
        <meta property="og:image" content="og.png"><meta name="twitter:image" content="https://other.test/t.png">
        <body><img src="small.png" width=1 height=1><img src="data:image/png;base64,xx"><img src="large.png" width="800">`),
    ).to.deep.equal([
      'https://cdn.test/b/og.png',
      'https://other.test/t.png',
      'https://cdn.test/src.png',
      'https://cdn.test/b/large.png',
      'https://cdn.test/b/i.ico',
    ]);
    for (const bad of ['javascript:alert(1)', 'ftp://a.test/x', 'file:///etc/passwd', 'http://[', 'data:image/png,x'])
      expect(await pictures(`<meta property="og:image" content="${bad}">`), bad).to.deep.equal([]);
  });
  it('is bounded, and is text that can be stored, however long or odd it is', async () => {
    const long = await fields(
      `<meta property="og:title" content="${'長'.repeat(5_000)}"><body><p>${'語 '.repeat(9_000)}`,
    );
    expect(long['og:title']).to.have.length(1_024);
    expect(long['og:description']).to.have.length.within(1, 500);
    const many = await fields(Array.from({ length: 500 }, (_, n) => `<meta property="og:x${n}" content="y">`).join(''));
    expect(Object.keys(many).length).to.be.most(42);
    expect(shortened(`${'a'.repeat(8)}😀b`, 10)).to.equal(`${'a'.repeat(8)}…`);
  });
  it('is read in steps that leave the event loop to others, and not beyond what is needed', async () => {
    for (const hostile of [
      '<p>'.repeat(300_000),
      '<'.repeat(1_000_000),
      `<a ${'x'.repeat(1_000_000)}`,
      `<title>${'&amp;'.repeat(200_000)}`,
      `<meta content="${'"'.repeat(3)}${' a=b'.repeat(250_000)}`,
      `<!--${'-'.repeat(1_000_000)}`,
      `<script>${'</scrip'.repeat(150_000)}`,
      '&'.repeat(1_000_000),
      `<svg>${'<title>'.repeat(140_000)}`,
    ]) {
      let turns = 0;
      let isDone = false;
      const reading = read(hostile).finally(() => (isDone = true));
      for (; !isDone; turns++) await setImmediate();
      await reading;
      // A page that is read to its end takes a turn for each 16 KiB; one that has said enough ends earlier.
      expect(turns, hostile.slice(0, 20)).to.be.least(2);
    }
  });
  it('never fails, whatever the page is', async () => {
    const piece = fc.constantFrom(
      '<',
      '>',
      '"',
      "'",
      '/',
      '=',
      'meta',
      'title',
      '<meta property="og:title" content=',
      '\0',
      '&#x',
      ' ',
      '集',
      '\ud800',
      '<base href=',
      'http://[',
      '<!--',
      ']]>',
      '</',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 60 }), async (pieces) => {
        const facts = await read(pieces.join(''));
        JSON.stringify(fieldsOf(facts, URL_OF_PAGE));
        picturesOf(facts, URL_OF_PAGE);
      }),
      { numRuns: 300 },
    );
  });
  it('is filled up by its oEmbed document', () => {
    expect(oEmbedOf(Buffer.from('{"type":"photo","url":"https://p.test/1.png","title":"P"}'))).to.include({
      picture: 'https://p.test/1.png',
      title: 'P',
    });
    for (const none of ['', '[]', 'null', '"x"', '{', '7'])
      expect(oEmbedOf(Buffer.from(none)), none).to.equal(undefined);
    expect(oEmbedOf(Buffer.from('{"title":7,"thumbnail_url":{},"html":[]}'))).to.deep.include({ title: undefined });
  });

  it('reads no further where elements lie deeper in each other than on any page, since each closing tag looks through all of them', async () => {
    const read = (depth: number): ReturnType<typeof readPage> =>
      readPage(
        Buffer.from(
          `<title>before</title>${'<b>'.repeat(depth)}${' '.repeat(20_000)}<meta property="og:title" content="after">`,
        ),
        'utf-8',
      );
    expect((await read(400)).properties.get('og:title')).to.equal('after');
    const facts = await read(5_000);
    expect([facts.title, facts.properties.size]).to.deep.equal(['before', 0]);
  });

  it('counts as open what is open: elements beside each other are as many as they like', async () => {
    const page = `${'<p><b>x</b><br><hr>'.repeat(2_000)}<meta property="og:title" content="after">`;
    expect((await readPage(Buffer.from(page), 'utf-8')).properties.get('og:title')).to.equal('after');
  });
});
