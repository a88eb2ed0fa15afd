import { expect } from 'chai';
import { lifetimeIn, type RetentionLimits, retentionConfiguration } from '#src/services/retention/retention-policy.ts';

const limits = (more: Partial<RetentionLimits> = {}): RetentionLimits => ({
  defaultMaxLifetimeMs: null,
  allowedMinLifetimeMs: 0,
  allowedMaxLifetimeMs: null,
  ...more,
});

describe('how long a room keeps its events', () => {
  it('is what it says, within what the server allows', () => {
    const bounds = limits({ allowedMinLifetimeMs: 100, allowedMaxLifetimeMs: 1_000 });
    expect(lifetimeIn({ max_lifetime: 500 }, bounds)).to.equal(500);
    expect(lifetimeIn({ max_lifetime: 5 }, bounds)).to.equal(100);
    expect(lifetimeIn({ max_lifetime: 5_000 }, bounds)).to.equal(1_000);
    expect(lifetimeIn({ max_lifetime: 5_000 }, limits())).to.equal(5_000);
  });
  it('is what the server says, where the room says nothing or nonsense; and for ever where neither does', () => {
    for (const content of [
      undefined,
      {},
      { max_lifetime: '5' },
      { max_lifetime: -1 },
      { max_lifetime: 1, min_lifetime: 2 },
    ]) {
      expect(lifetimeIn(content, limits({ defaultMaxLifetimeMs: 700 }))).to.equal(700);
      expect(lifetimeIn(content, limits())).to.equal(undefined);
    }
    expect(lifetimeIn({ min_lifetime: 900 }, limits({ defaultMaxLifetimeMs: 700 }))).to.equal(900);
  });
});

describe('what clients learn of retention', () => {
  it('is the lifetime of rooms that do not say it, and the range of those that do', () => {
    const limits = {
      defaultMaxLifetimeMs: 86_400_000,
      allowedMinLifetimeMs: 60_000,
      allowedMaxLifetimeMs: 172_800_000,
    };
    expect(retentionConfiguration(limits)).to.deep.equal({
      policies: { '*': { max_lifetime: 86_400_000 } },
      limits: { max_lifetime: { min: 60_000, max: 172_800_000 } },
    });
  });
  it('is nothing where there are no limits, and where nothing is deleted', () => {
    const limits = { defaultMaxLifetimeMs: null, allowedMinLifetimeMs: 0, allowedMaxLifetimeMs: null };
    expect(retentionConfiguration(limits)).to.deep.equal({ policies: {}, limits: {} });
    expect(retentionConfiguration(undefined)).to.deep.equal({ policies: {}, limits: {} });
  });
});
