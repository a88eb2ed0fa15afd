import { expect } from 'chai';
import { checkGivenPassword, checkNewPassword } from '#src/services/accounts/credentials/password-policy.ts';

describe('the password policy', () => {
  it('counts characters, not code units', () => {
    expect(() => checkNewPassword('🔑'.repeat(7), {}))
      .to.throw()
      .with.property('errcode', 'M_WEAK_PASSWORD');
    checkNewPassword('🔑'.repeat(8), {});
  });

  it('asks for what is configured, in any script', () => {
    const wants = { requireDigit: true, requireSymbol: true, requireUppercase: true, requireLowercase: true };
    checkNewPassword('Éé٣-longer', wants);
    for (const weak of ['éé٣-longer', 'ÉÉ٣-LONGER', 'Éé-longer.', 'Éé3longer3']) {
      expect(() => checkNewPassword(weak, wants), weak)
        .to.throw()
        .with.property('errcode', 'M_WEAK_PASSWORD');
    }
  });

  it('takes any password from administrators that can be one', () => {
    for (const given of ['x', '🔑'.repeat(512)]) checkGivenPassword(given);
    for (const impossible of ['', 'x'.repeat(513), 'a\0b'])
      expect(() => checkGivenPassword(impossible), impossible)
        .to.throw()
        .with.property('errcode', 'M_INVALID_PARAM');
  });

  it('refuses what is too long to hash', () => {
    expect(() => checkNewPassword('x'.repeat(513), {}))
      .to.throw()
      .with.property('errcode', 'M_INVALID_PARAM');
  });
});
