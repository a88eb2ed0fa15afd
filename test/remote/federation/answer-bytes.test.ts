import { expect } from 'chai';
import { noMetrics } from '#src/kernel/metrics.ts';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import {
  AnswerBytes,
  type HeldAnswers,
  MAX_ANSWER_BYTES,
  MAX_ANSWER_BYTES_OF_PARTY,
} from '#src/remote/federation/answer-bytes.ts';

const MiB = 1024 * 1024;
const never = new AbortController().signal;

/** What a user's request holds. */
const heldBy = (answers: AnswerBytes, user: string, most = Infinity): HeldAnswers => {
  const work = new Work('test');
  work.party = () => user;
  return doing(work, () => answers.open(most));
};

/** What has become of a promise by now. */
const stateOf = async (promise: Promise<boolean>): Promise<boolean | 'waits'> => {
  const turn = new Promise<'waits'>((resolve) => {
    setImmediate(() => resolve('waits'));
  });
  return Promise.race([promise, turn]);
};

describe('the memory for answers of other servers', () => {
  it('leaves something for one more, however much users ask for', async () => {
    const answers = new AnswerBytes(noMetrics);
    const users = Array.from({ length: 8 }, (_, index) => heldBy(answers, `@u${index}:a.test`));
    for (const user of users) while (user.takeNow(64 * 1024));
    expect(answers.used).to.be.within(MAX_ANSWER_BYTES / 2, MAX_ANSWER_BYTES - MiB / 8);
    expect(Math.max(...users.map(({ bytes }) => bytes))).to.equal(MAX_ANSWER_BYTES_OF_PARTY);
    expect(heldBy(answers, '@late:a.test').takeNow(64 * 1024)).to.equal(true);
  });
  it('has those wait who find no room, until others give theirs back', async () => {
    const answers = new AnswerBytes(noMetrics);
    const [first, second] = [heldBy(answers, '@u:a.test'), heldBy(answers, '@u:a.test')];
    expect(await first.take(MAX_ANSWER_BYTES_OF_PARTY, never)).to.equal(true);
    const waiting = second.take(2 * MiB, never);
    expect(await stateOf(waiting)).to.equal('waits');
    first.give(MiB);
    expect(await stateOf(waiting)).to.equal('waits');
    first.release();
    expect(await waiting).to.equal(true);
    second.release();
    expect(answers.used).to.equal(0);
  });
  it('lets those who are given up go with nothing', async () => {
    const answers = new AnswerBytes(noMetrics);
    const [first, second] = [heldBy(answers, '@u:a.test'), heldBy(answers, '@u:a.test')];
    expect(first.takeNow(MAX_ANSWER_BYTES_OF_PARTY)).to.equal(true);
    const deadline = new AbortController();
    const waiting = second.take(MiB, deadline.signal);
    deadline.abort();
    expect(await waiting).to.equal(false);
    first.release();
    expect([second.bytes, answers.used]).to.deep.equal([0, 0]);
  });
  it('refuses at once what is more than one request may hold', async () => {
    const answers = new AnswerBytes(noMetrics);
    const held = heldBy(answers, '@u:a.test', 4 * MiB);
    expect(await held.take(3 * MiB, never)).to.equal(true);
    expect(await held.take(2 * MiB, never)).to.equal(false);
    const whole = heldBy(answers, '@v:a.test');
    expect(await whole.take(MAX_ANSWER_BYTES_OF_PARTY + 1, never)).to.equal(false);
  });
  it('gives nothing to those who are done, or are given up, already', async () => {
    const answers = new AnswerBytes(noMetrics);
    const done = heldBy(answers, '@u:a.test');
    expect(await done.take(MiB, never)).to.equal(true);
    done.release();
    expect(await done.take(MiB, never)).to.equal(false);
    expect(done.takeNow(MiB)).to.equal(false);
    const late = heldBy(answers, '@u:a.test');
    expect(await late.take(MiB, AbortSignal.abort())).to.equal(false);
    expect(answers.used).to.equal(0);
  });
  it('gives nothing to those who are done while they wait', async () => {
    const answers = new AnswerBytes(noMetrics);
    const [first, second] = [heldBy(answers, '@u:a.test'), heldBy(answers, '@u:a.test')];
    expect(first.takeNow(MAX_ANSWER_BYTES_OF_PARTY)).to.equal(true);
    const waiting = second.take(MiB, never);
    second.release();
    expect(await stateOf(waiting)).to.equal(false);
    first.release();
    expect(answers.used).to.equal(0);
  });
  it('takes nothing back twice', async () => {
    const answers = new AnswerBytes(noMetrics);
    const [first, second] = [heldBy(answers, '@u:a.test'), heldBy(answers, '@u:a.test')];
    expect([first.takeNow(2 * MiB), second.takeNow(MiB)]).to.deep.equal([true, true]);
    first.release();
    first.takeNow(MiB);
    first.give(2 * MiB);
    expect([first.bytes, answers.used]).to.deep.equal([0, MiB]);
  });
});
