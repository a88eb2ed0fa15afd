import { expect } from 'chai';
import { candidateUserIds, nameOfNewAccount } from '#src/services/accounts/users/usernames.ts';

describe('names of accounts', () => {
  it('fold capitals and accept a full user id of this server', () => {
    expect(nameOfNewAccount('Alice', 'a.test')).to.deep.equal({ userId: '@alice:a.test', localpart: 'alice' });
    expect(nameOfNewAccount('@Alice:a.test', 'a.test')).to.deep.equal({ userId: '@alice:a.test', localpart: 'alice' });
  });

  it('are refused outside the grammar, for other servers, and beyond 255 bytes', () => {
    for (const name of ['', 'a b', 'ä', '\u212A', '@alice:b.test', '@:a.test', 'x'.repeat(248)]) {
      expect(() => nameOfNewAccount(name, 'a.test'), name)
        .to.throw()
        .with.property('errcode', 'M_INVALID_USERNAME');
    }
    expect(nameOfNewAccount('x'.repeat(247), 'a.test').userId).to.have.length(255);
  });

  it('are tried as written before capitals are folded, and never on other servers', () => {
    expect(candidateUserIds('alice', 'a.test:8448')).to.deep.equal(['@alice:a.test:8448']);
    expect(candidateUserIds('@Old:a.test', 'a.test')).to.deep.equal(['@Old:a.test', '@old:a.test']);
    expect(candidateUserIds('@alice:b.test', 'a.test')).to.deep.equal([]);
    expect(candidateUserIds('nul\0', 'a.test')).to.deep.equal([]);
  });
});
