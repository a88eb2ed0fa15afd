import { expect } from 'chai';
import { DelayedEventLocks } from '#src/services/rooms/delayed-events/delayed-event-locks.ts';

describe('turns at delayed events', () => {
  const gate = (): { readonly opened: Promise<void>; readonly open: () => void } => {
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    return { opened, open: () => open() };
  };
  const rows = (...ids: string[]) => ids.map((id) => ({ delay_id: id }));

  it('run one after the other for the same one, and side by side for others', async () => {
    const turns = new DelayedEventLocks();
    const { opened, open } = gate();
    const order: string[] = [];
    const first = turns.take('a', async () => {
      await opened;
      order.push('a1');
    });
    const second = turns.take('a', async () => void order.push('a2'));
    await turns.take('b', async () => void order.push('b'));
    open();
    await Promise.all([first, second]);
    expect(order).to.deep.equal(['b', 'a1', 'a2']);
  });

  it('keep out of what is read those that somebody has, had or waits for meanwhile', async () => {
    const turns = new DelayedEventLocks();
    const { opened, open } = gate();
    const long = turns.take('has', () => opened);
    const found = await turns.untouched(async () => {
      await turns.take('had', async () => undefined);
      return rows('has', 'had', 'free');
    });
    expect(found).to.deep.equal(rows('free'));
    open();
    await long;
    expect(await turns.untouched(async () => rows('has', 'had', 'free'))).to.deep.equal(rows('has', 'had', 'free'));
  });

  it('keep out one whose turn began before the reading and ended in it', async () => {
    const turns = new DelayedEventLocks();
    const { opened, open } = gate();
    const long = turns.take('a', () => opened);
    const found = await turns.untouched(async () => {
      open();
      await long;
      return rows('a');
    });
    expect(found).to.deep.equal([]);
  });

  it('go on after one that failed', async () => {
    const turns = new DelayedEventLocks();
    const failed = await turns.take('a', () => Promise.reject(new Error('no'))).catch(() => 'failed');
    expect(failed).to.equal('failed');
    expect(await turns.take('a', async () => 'done')).to.equal('done');
    expect(await turns.untouched(async () => rows('a'))).to.deep.equal(rows('a'));
  });
});
