import { expect } from 'chai';
import { limitExceeded, limiterOf } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

describe('a refusal by a limit', () => {
  it('names the limit and when it is worth trying again, and takes no stack; other errors have theirs', () => {
    const refusal = limitExceeded('message', 1_500);
    expect(refusal.toBody()).to.deep.include({ errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 1_500 });
    expect(limiterOf(refusal)).to.equal('message');
    expect(refusal.stack).not.to.contain(' at ');
    expect(new MatrixError('M_FORBIDDEN', 'No.').stack).to.contain(' at ');
  });
});
