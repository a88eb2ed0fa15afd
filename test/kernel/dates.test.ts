import { expect } from 'chai';
import { DAY_MS, monthOf } from '#src/kernel/dates.ts';

describe('the month of a time', () => {
  it('is that of UTC, also around leap days and the turn of years', () => {
    for (const text of [
      '1970-01-01T00:00:00Z',
      '2000-02-29T23:59:59Z',
      '2000-03-01T00:00:00Z',
      '2024-12-31T23:59:59.999Z',
    ]) {
      expect(monthOf(Date.parse(text))).to.equal(text.slice(0, 7));
    }
    for (let ts = Date.parse('2023-01-01T00:00:00Z'); ts < Date.parse('2029-01-01T00:00:00Z'); ts += DAY_MS) {
      expect(monthOf(ts)).to.equal(new Date(ts).toISOString().slice(0, 7));
    }
  });
});
