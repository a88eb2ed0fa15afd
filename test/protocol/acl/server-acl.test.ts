import { expect } from 'chai';
import { isServerAllowed, parseServerAcl } from '#src/protocol/acl/server-acl.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';

const allowed = (content: JsonObject, server: string): boolean => isServerAllowed(parseServerAcl(content), server);

describe('server ACLs', () => {
  it('allow everybody where there is none', () => {
    expect(isServerAllowed(undefined, 'evil.test')).to.equal(true);
  });
  it('allow nobody when nothing is allowed', () => {
    expect(allowed({}, 'good.test')).to.equal(false);
    expect(allowed({ allow: 'nonsense', deny: 7 }, 'good.test')).to.equal(false);
    expect(allowed({ allow: [null, 7, ['*']] }, 'good.test')).to.equal(false);
  });
  it('deny before they allow', () => {
    const acl = { allow: ['*'], deny: ['evil.test', '*.evil.test'] };
    expect(allowed(acl, 'evil.test')).to.equal(false);
    expect(allowed(acl, 'very.evil.test')).to.equal(false);
    expect(allowed(acl, 'notevil.test')).to.equal(true);
  });
  it('match the whole name with * and ?', () => {
    expect(allowed({ allow: ['s?.test'] }, 's1.test')).to.equal(true);
    expect(allowed({ allow: ['s?.test'] }, 's12.test')).to.equal(false);
    expect(allowed({ allow: ['good.test'] }, 'good.test.evil')).to.equal(false);
    expect(allowed({ allow: ['good.test'] }, 'goodXtest')).to.equal(false);
  });
  it('do not look at ports', () => {
    const acl = { allow: ['*'], deny: ['evil.com'] };
    for (const name of ['evil.com', 'evil.com:8448', 'evil.com:1234']) expect(allowed(acl, name), name).to.equal(false);
    expect(allowed({ allow: ['good.com'] }, 'good.com:8448')).to.equal(true);
  });
  it('ignore case on both sides', () => {
    expect(allowed({ allow: ['*'], deny: ['EVIL.com'] }, 'evil.COM')).to.equal(false);
  });
  it('refuse IP literals when they shall, before any list', () => {
    const closed = { allow: ['*'], allow_ip_literals: false };
    for (const name of ['1.2.3.4', '1.2.3.4:8448', '[::1]', '[2001:db8::1]:8448'])
      expect(allowed(closed, name), name).to.equal(false);
    expect(allowed(closed, 'one.test')).to.equal(true);
    expect(allowed({ allow: ['*'] }, '1.2.3.4')).to.equal(true);
    expect(allowed({ allow: ['*'], allow_ip_literals: 'false' }, '1.2.3.4')).to.equal(true);
    expect(allowed({ allow: ['*'], deny: ['[::*'] }, '[::1]:80')).to.equal(false);
  });
  it('refuse what is no server name', () => {
    expect(allowed({ allow: ['*'] }, 'not a name')).to.equal(false);
    expect(allowed({ allow: ['*'] }, '')).to.equal(false);
  });
});
