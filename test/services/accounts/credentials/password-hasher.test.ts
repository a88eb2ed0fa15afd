import { expect } from 'chai';
import { PASSWORD_COSTS, PasswordHasher } from '#src/services/accounts/credentials/password-hasher.ts';

describe('PasswordHasher', () => {
  it('makes argon2id hashes that only the password fits', async () => {
    const hasher = new PasswordHasher({ cost: PASSWORD_COSTS.low });
    const hash = await hasher.hash('a password');
    expect(hash).to.match(/^\$argon2id\$/);
    expect(await hasher.hash('a password')).to.not.equal(hash);
    expect(await hasher.verify(hash, 'a password')).to.equal(true);
    expect(await hasher.verify(hash, 'a passwore')).to.equal(false);
    expect(hasher.isOutdated(hash)).to.equal(false);
    expect(new PasswordHasher({ cost: PASSWORD_COSTS.production }).isOutdated(hash)).to.equal(true);
  });

  it('reads hashes with the parameters in the usual order', async () => {
    const hasher = new PasswordHasher({ cost: PASSWORD_COSTS.low });
    const hash = await hasher.hash('password');
    const [, type, version, , salt, digest] = hash.split('$');
    expect(await hasher.verify(`$${type}$${version}$m=1024,t=2,p=1$${salt}$${digest}`, 'password')).to.equal(true);
  });

  it('says no without a hash, after as much work as with one', async () => {
    const hasher = new PasswordHasher({ cost: { memoryCost: 19_456, timeCost: 4, parallelism: 1 } });
    const hash = await hasher.hash('a password');
    expect(await hasher.verify(undefined, 'a password')).to.equal(false);
    expect(await hasher.verify(null, 'nobody has this password'), 'the decoy is nobody’s password').to.equal(false);
    const cpu = async (of: string | undefined): Promise<number> => {
      const before = process.cpuUsage();
      for (let round = 0; round < 5; round += 1) await hasher.verify(of, 'wrong');
      const { user, system } = process.cpuUsage(before);
      return user + system;
    };
    const known = await cpu(hash);
    const unknown = await cpu(undefined);
    expect(unknown / known).to.be.within(0.5, 2);
  });

  it('refuses more than may wait in line, and works on afterwards', async () => {
    const hasher = new PasswordHasher({ cost: PASSWORD_COSTS.low, concurrency: 1, maxWaiting: 2 });
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => hasher.hash('a password')));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).to.have.length(3);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).to.have.property('errcode', 'M_LIMIT_EXCEEDED');
    }
    expect(await hasher.hash('a password')).to.be.a('string');
  });
});
