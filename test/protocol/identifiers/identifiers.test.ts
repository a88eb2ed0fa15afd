import { expect } from 'chai';
import fc from 'fast-check';
import { fitsBytes, fitsCodePoints } from '#src/protocol/identifiers/byte-length.ts';
import {
  formatMxcUri,
  isCompliantUserId,
  isEventId,
  isHashRoomId,
  isNewLocalpart,
  isOpaqueId,
  isRoomAlias,
  isRoomId,
  isUserId,
  newUserId,
  parseMxcUri,
  parseUserId,
} from '#src/protocol/identifiers/identifiers.ts';
import { domainOf, isServerName, localpartOf, parseServerName } from '#src/protocol/identifiers/server-name.ts';

const HASH = 'Nhcu5BS-UMnFX7hBVfVSoXiD7OgH6iRT-xyIuqDnpYQ';

describe('server names', () => {
  const valid = [
    'matrix.org',
    'matrix.org:8888',
    '1.2.3.4',
    '1.2.3.4:1234',
    '[1234:5678::abcd]',
    '[1234:5678::abcd]:5678',
    'localhost',
    'MATRIX.org',
    '[::ffff:1.2.3.4]',
  ];
  for (const name of valid) it(`accepts ${name}`, () => expect(isServerName(name)).to.equal(true));
  const invalid = [
    '',
    ':',
    'a:',
    'a:x',
    'a:123456',
    'a:65536',
    'a_b',
    'exämple.org',
    '1.2.3.256',
    '[1.2.3.4]',
    '[::1',
    '::1',
    '[:::1]',
    'a b',
    'a/b',
    'a:1:2',
    'https://a',
    'a\n',
  ];
  for (const name of invalid) it(`refuses ${JSON.stringify(name)}`, () => expect(isServerName(name)).to.equal(false));

  it('takes a server name apart', () => {
    expect(parseServerName('[::1]:8448')).to.deep.equal({ kind: 'ipv6', host: '[::1]', port: 8448 });
    expect(parseServerName('10.0.0.1')).to.deep.equal({ kind: 'ipv4', host: '10.0.0.1', port: undefined });
    expect(parseServerName('a.example:80')).to.deep.equal({ kind: 'dns', host: 'a.example', port: 80 });
  });

  it('finds the domain after the first colon', () => {
    expect(domainOf('@a:[::1]:8448')).to.equal('[::1]:8448');
    expect(localpartOf('@a:[::1]:8448')).to.equal('a');
    expect(domainOf(`!${HASH}`)).to.equal(undefined);
    expect(localpartOf(`!${HASH}`)).to.equal(HASH);
  });
});

describe('user ids', () => {
  it('accepts historical localparts', () => {
    for (const id of ['@a:b', '@:b', '@A B:b', '@日本:b', '@\u0001:b', '@!:b:8448'])
      expect(isUserId(id), id).to.equal(true);
  });

  it('refuses what is not a user id', () => {
    for (const id of ['a:b', '@a', '@a:', '#a:b', '@a\0:b', '@\ud800:b', '@a:b_c', '', 1, null, undefined])
      expect(isUserId(id), String(id)).to.equal(false);
  });

  it('calls only printable, non-empty localparts compliant', () => {
    expect(isCompliantUserId('@A!:b')).to.equal(true);
    for (const id of ['@:b', '@a b:b', '@é:b', '@\u007f:b']) expect(isCompliantUserId(id), id).to.equal(false);
  });

  it('makes new user ids of the strict grammar only', () => {
    expect(newUserId('q3._=-/+', 'b')).to.equal('@q3._=-/+:b');
    for (const bad of [
      '',
      'A',
      'a b',
      'é',
      'a:b',
      '!',
      '"',
      '?',
      '\\',
      '@',
      '[',
      ']',
      '{',
      '|',
      '}',
      '£',
      "'",
      'a\n',
    ]) {
      expect(isNewLocalpart(bad), bad).to.equal(false);
      expect(newUserId(bad, 'b'), bad).to.equal(undefined);
    }
  });

  it('limits user ids to 255 bytes', () => {
    expect(isUserId(`@${'a'.repeat(252)}:b`)).to.equal(true);
    expect(isUserId(`@${'a'.repeat(253)}:b`)).to.equal(false);
    expect(isUserId(`@${'é'.repeat(127)}:b`)).to.equal(false);
    expect(newUserId('a'.repeat(253), 'b')).to.equal(undefined);
    expect(parseUserId(`@${'é'.repeat(126)}:b`)?.domain).to.equal('b');
  });
});

describe('other identifiers', () => {
  it('accepts room ids with a domain and room ids that are hashes', () => {
    for (const id of ['!a:b', '!:b', `!${HASH}`]) expect(isRoomId(id), id).to.equal(true);
    for (const id of ['!a', `!${HASH}x`, `$${HASH}`, '!a:', `!${HASH.replace('-', '+')}`, '#a:b', 5])
      expect(isRoomId(id), String(id)).to.equal(false);
    expect(isHashRoomId('!a:b')).to.equal(false);
  });

  it('accepts aliases in any script', () => {
    for (const id of ['#日本:b', '#a b:b:80']) expect(isRoomAlias(id), id).to.equal(true);
    for (const id of ['#a', '#a:', 'a:b', '#a\0:b', `#${'a'.repeat(253)}:b`])
      expect(isRoomAlias(id), id).to.equal(false);
  });

  it('accepts event ids of every format', () => {
    for (const id of ['$a:b', `$${HASH}`, '$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk'])
      expect(isEventId(id), id).to.equal(true);
    for (const id of ['$', 'a', '', `$${'a'.repeat(255)}`, '$\0', 1]) expect(isEventId(id), String(id)).to.equal(false);
  });

  it('holds opaque ids to their alphabet and length', () => {
    expect(isOpaqueId('aZ09-._~')).to.equal(true);
    for (const id of ['', 'a b', 'a/b', 'a\n', 'é', 'a'.repeat(256)]) expect(isOpaqueId(id), id).to.equal(false);
    expect(isOpaqueId('abcdef', 5)).to.equal(false);
  });

  it('reads mxc URIs and refuses those that could leave their directory', () => {
    expect(parseMxcUri('mxc://b:80/Ab_-9')).to.deep.equal({ serverName: 'b:80', mediaId: 'Ab_-9' });
    expect(parseMxcUri(formatMxcUri('b', 'x'))).to.deep.equal({ serverName: 'b', mediaId: 'x' });
    for (const uri of [
      'mxc://b',
      'mxc://b/',
      'mxc:///x',
      'mxc://b/../x',
      'mxc://b/a.b',
      'mxc://b_c/x',
      'http://b/x',
      'mxc://b/x/y',
      7,
    ]) {
      expect(parseMxcUri(uri), String(uri)).to.equal(undefined);
    }
  });

  it('counts bytes and code points exactly', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.integer({ min: 0, max: 60 }), (text, limit) => {
        expect(fitsBytes(text, limit)).to.equal(Buffer.from(text).length <= limit);
        expect(fitsCodePoints(text, limit)).to.equal([...text].length <= limit);
      }),
    );
  });
});
