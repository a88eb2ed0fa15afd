import * as argon2 from '@node-rs/argon2';
import * as oracle from 'argon2';
import { expect } from 'chai';
import fc from 'fast-check';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import {
  type Argon2,
  type Argon2Cost,
  PASSWORD_COSTS,
  PasswordHasher,
} from '#src/services/accounts/credentials/password-hasher.ts';

const PLACE = { party: '192.0.2.1', isPreferred: false };

describe('PasswordHasher', () => {
  it('makes argon2id hashes that only the password fits', async () => {
    const hasher = new PasswordHasher({ cost: PASSWORD_COSTS.low });
    const hash = await hasher.hash('a password', PLACE);
    expect(hash).to.match(/^\$argon2id\$/);
    expect(await hasher.hash('a password', PLACE)).to.not.equal(hash);
    expect(await hasher.verify(hash, 'a password', PLACE)).to.equal(true);
    expect(await hasher.verify(hash, 'a passwore', PLACE)).to.equal(false);
    expect(hasher.isOutdated(hash)).to.equal(false);
    expect(new PasswordHasher({ cost: PASSWORD_COSTS.production }).isOutdated(hash)).to.equal(true);
  });

  it('agrees with another implementation of argon2, which reads its hashes and whose hashes it reads', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'binary', maxLength: 100 }),
        fc.string({ unit: 'binary', maxLength: 100 }),
        async (password, other) => {
          const hasher = new PasswordHasher({ cost: PASSWORD_COSTS.low });
          const ours = await hasher.hash(password, PLACE);
          const theirs = await oracle.hash(password, { ...PASSWORD_COSTS.low });
          expect(await oracle.verify(ours, password)).to.equal(true);
          expect(await hasher.verify(theirs, password, PLACE)).to.equal(true);
          expect(hasher.isOutdated(theirs)).to.equal(false);
          expect(oracle.needsRehash(ours, { ...PASSWORD_COSTS.low })).to.equal(false);
          for (const hash of [ours, theirs])
            expect(await hasher.verify(hash, other, PLACE)).to.equal(await oracle.verify(hash, other));
        },
      ),
      { numRuns: 20 },
    );
  });

  it('reads hashes with the parameters in the usual order', async () => {
    const hasher = new PasswordHasher({ cost: PASSWORD_COSTS.low });
    const hash = await hasher.hash('password', PLACE);
    const [, type, version, , salt, digest] = hash.split('$');
    expect(await hasher.verify(`$${type}$${version}$m=1024,t=2,p=1$${salt}$${digest}`, 'password', PLACE)).to.equal(
      true,
    );
  });

  it('says no without a hash, after as much work as with one', async () => {
    const work: Argon2Cost[] = [];
    const counting: Argon2 = {
      ...argon2,
      verify(hash, password) {
        const { memoryCost, timeCost, parallelism } = argon2.parseOptions(hash);
        work.push({ memoryCost, timeCost, parallelism });
        return argon2.verify(hash, password);
      },
    };
    const cost = { memoryCost: 2_048, timeCost: 3, parallelism: 1 };
    const hasher = new PasswordHasher({ cost, argon2: counting });
    const hash = await hasher.hash('a password', PLACE);
    expect(await hasher.verify(hash, 'wrong', PLACE)).to.equal(false);
    const known = work.splice(0);
    expect(known).to.deep.equal([cost]);
    for (const nobody of [undefined, null]) {
      expect(await hasher.verify(nobody, 'a password', PLACE)).to.equal(false);
      expect(work.splice(0)).to.deep.equal(known);
    }
    expect(await hasher.verify(null, 'nobody has this password', PLACE), 'the decoy is nobody’s password').to.equal(
      false,
    );
  });

  it('charges each hash to what asks for it, as much for nobody as for somebody', async () => {
    const hasher = new PasswordHasher({ cost: PASSWORD_COSTS.production });
    const costOf = async (ask: () => Promise<unknown>): Promise<number> => {
      const work = new Work('test');
      await doing(work, ask);
      expect(work.cost).to.equal(0);
      return work.costOfHashes;
    };
    const made = await costOf(() => hasher.hash('a password', PLACE));
    expect(made, 'milliseconds of a core').to.be.within(20, 30);
    const hash = await hasher.hash('a password', PLACE);
    await hasher.verify(null, 'the first one makes the decoy', PLACE);
    for (const known of [hash, null]) expect(await costOf(() => hasher.verify(known, 'x', PLACE))).to.equal(made);
  });

  it('refuses more than may wait in line, and works on afterwards', async () => {
    const hasher = new PasswordHasher({ cost: PASSWORD_COSTS.low, concurrency: 1, maxWaiting: 2 });
    const outcomes = await Promise.allSettled(Array.from({ length: 5 }, () => hasher.hash('a password', PLACE)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).to.have.length(3);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).to.have.property('errcode', 'M_LIMIT_EXCEEDED');
    }
    expect(await hasher.hash('a password', PLACE)).to.be.a('string');
  });
});
