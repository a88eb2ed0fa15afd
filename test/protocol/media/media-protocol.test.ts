import { expect } from 'chai';
import fc from 'fast-check';
import { requestedRange } from '#src/protocol/media/byte-range.ts';
import { contentDisposition } from '#src/protocol/media/content-disposition.ts';
import { mediaNamedIn, mediaUrisIn } from '#src/protocol/media/media-uris.ts';
import { thumbnailSize } from '#src/protocol/media/thumbnail-size.ts';

describe('Content-Disposition of media', () => {
  const SHOWN =
    'text/css text/plain text/csv application/json application/ld+json image/jpeg image/gif image/png image/apng image/webp image/avif ' +
    'video/mp4 video/webm video/ogg video/quicktime audio/mp4 audio/webm audio/aac audio/mpeg audio/ogg audio/wave audio/wav ' +
    'audio/x-wav audio/x-pn-wav audio/flac audio/x-flac';

  it('is inline for every type that the specification lists, however it is spelled', () => {
    for (const type of SHOWN.split(' ')) {
      for (const spelled of [type, type.toUpperCase(), `${type}; charset=utf-8`, ` ${type} ;x=y`])
        expect(contentDisposition(spelled, undefined)).to.equal('inline');
    }
  });

  it('is attachment for what a browser could run, and for what pretends to be harmless', () => {
    for (const type of [
      'text/html',
      'image/svg+xml',
      'application/xhtml+xml',
      'text/xml',
      'application/javascript',
      'application/pdf',
      'multipart/x-mixed-replace',
      'text/plain,text/html',
      'image/png, text/html',
      'text/plain text/html',
      'text/cache-manifest',
      'application/octet-stream',
      '',
      '*/*',
    ])
      expect(contentDisposition(type, undefined), type).to.equal('attachment');
  });

  it('spells names as RFC 6266 wants them: plain, quoted, or in UTF-8', () => {
    for (const [name, spelled] of [
      ['photo.jpg', 'filename=photo.jpg'],
      ['my photo.jpg', 'filename="my photo.jpg"'],
      ['a;b=c.txt', 'filename="a;b=c.txt"'],
      ['say "hi"\\.txt', 'filename="say \\"hi\\"\\\\.txt"'],
      ['写真.jpg', "filename*=utf-8''%E5%86%99%E7%9C%9F.jpg"],
      ["it's (1)*.txt年", "filename*=utf-8''it%27s%20%281%29%2A.txt%E5%B9%B4"],
      ['😀.png', "filename*=utf-8''%F0%9F%98%80.png"],
      ['half\ud83d', "filename*=utf-8''half%EF%BF%BD"],
      ['line\r\nSet-Cookie: a=b', "filename*=utf-8''line%0D%0ASet-Cookie%3A%20a%3Db"],
    ] as const)
      expect(contentDisposition('image/png', name)).to.equal(`inline; ${spelled}`);
    expect(contentDisposition('image/png', '')).to.equal('inline');
  });

  it('is one header line of ASCII whatever the name is, from which the name can be read back', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1 }), (name) => {
        const header = contentDisposition('text/plain', name);
        expect(header).to.match(/^[\x20-\x7e]+$/);
        const extended = /filename\*=utf-8''(.*)$/.exec(header)?.[1];
        const quoted = /filename="(.*)"$/.exec(header)?.[1]?.replace(/\\(.)/g, '$1');
        const read =
          extended === undefined ? (quoted ?? /filename=(.*)$/.exec(header)?.[1]) : decodeURIComponent(extended);
        expect(read).to.equal(name.toWellFormed());
      }),
    );
  });
});

describe('a Range of media', () => {
  it('is a part, all of it, or beyond its end, as RFC 9110 has it', () => {
    const all = undefined;
    for (const [header, size, expected] of [
      ['bytes=0-0', 10, { first: 0, last: 0 }],
      ['bytes=2-4', 10, { first: 2, last: 4 }],
      ['bytes=5-', 10, { first: 5, last: 9 }],
      ['bytes=5-999', 10, { first: 5, last: 9 }],
      ['bytes=-3', 10, { first: 7, last: 9 }],
      ['bytes=-30', 10, { first: 0, last: 9 }],
      ['bytes=10-', 10, 'unsatisfiable'],
      ['bytes=-0', 10, 'unsatisfiable'],
      ['bytes=0-0', 0, 'unsatisfiable'],
      ['bytes=-5', 0, 'unsatisfiable'],
      ['bytes=4-2', 10, all],
      ['bytes=0-1,3-4', 10, all],
      ['bytes=-', 10, all],
      ['bytes=a-b', 10, all],
      ['bytes=1-2-3', 10, all],
      ['items=0-1', 10, all],
      ['bytes=99999999999999999999-', 10, all],
      ['', 10, all],
      [undefined, 10, all],
    ] as const)
      expect(requestedRange(header, size), String(header)).to.deep.equal(expected);
  });

  it('never leads out of what is there', () => {
    fc.assert(
      fc.property(fc.string(), fc.nat(), fc.nat(), fc.nat(), (noise, from, to, size) => {
        for (const header of [noise, `bytes=${noise}`, `bytes=${from}-${to}`, `bytes=-${to}`, `bytes=${from}-`]) {
          const range = requestedRange(header, size);
          if (typeof range !== 'object') continue;
          expect(range.first).to.be.within(0, range.last);
          expect(range.last).to.be.below(size);
        }
      }),
    );
  });
});

describe('media that a text names', () => {
  it('are found wherever they stand, each once, and those of other servers are told apart', () => {
    const json = JSON.stringify({
      url: 'mxc://here.example/one',
      formatted_body: '<img src="mxc://here.example/two">and mxc://here.example/one again',
      info: { thumbnail_file: { url: 'mxc://here.example:8448/three' } },
      nested: ['mxc://far.example/four', 'mxc://here.example/', 'mxc:///five', 'mxc://here.example/six.png?x'],
    });
    expect(mediaUrisIn(json, 100)).to.deep.equal([
      'here.example/one',
      'here.example/two',
      'here.example:8448/three',
      'far.example/four',
      'here.example/six',
    ]);
    expect(mediaNamedIn(json, 'here.example', 100)).to.deep.equal(['one', 'two', 'six']);
    expect(mediaUrisIn(json, 2)).to.have.length(2);
    expect(mediaUrisIn('no media here', 10)).to.deep.equal([]);
  });

  it('take time in proportion to the text, whatever it looks like', () => {
    for (const text of ['mxc://'.repeat(20_000), `mxc://${'a'.repeat(100_000)}`, `mxc://a/${'b'.repeat(100_000)}`])
      expect(mediaUrisIn(text, 10).length).to.be.at.most(10);
  });
});

describe('the size of a thumbnail', () => {
  it('is never smaller than what is asked for, and has its shape where it is cut', () => {
    const side = fc.integer({ min: 1, max: 5_000 });
    fc.assert(
      fc.property(side, side, fc.constantFrom('crop', 'scale', undefined), (width, height, method) => {
        const size = thumbnailSize({ width, height, method });
        expect(size.width).to.be.at.least(width);
        expect(size.height).to.be.at.least(height);
        // What is nearly square is cut to a square.
        if (size.method === 'crop' && size.width !== size.height)
          expect(size.width > size.height).to.equal(width > height);
      }),
    );
  });

  it('is one of a bounded number', () => {
    const sizes = new Set<string>();
    for (let width = 1; width < 2_200; width += 13) {
      for (let height = 1; height < 2_200; height += 17) {
        for (const method of ['crop', 'scale'] as const)
          sizes.add(JSON.stringify(thumbnailSize({ width, height, method })));
      }
    }
    expect(sizes.size).to.be.at.most(120);
  });

  it('is what the specification lists for what it lists', () => {
    for (const [width, height, method] of [
      [32, 32, 'crop'],
      [96, 96, 'crop'],
      [320, 240, 'scale'],
      [640, 480, 'scale'],
      [800, 600, 'scale'],
    ] as const)
      expect(thumbnailSize({ width, height, method })).to.deep.equal({ width, height, method });
  });
});
