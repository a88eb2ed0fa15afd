import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { dummyStage, type Stage, StageFailed } from '#src/services/accounts/uia/stages.ts';
import { UiaChallenge, type UiaRequest, UiaService } from '#src/services/accounts/uia/uia-service.ts';
import { MemoryUiaSessions } from '#src/services/accounts/uia/uia-session-store.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

/** Passes for `answer: 'right'` and asks for it in its params. */
const riddle: Stage = {
  type: 'test.riddle',
  params: () => ({ question: 'left or right?' }),
  attempt: (auth) =>
    auth['answer'] === 'right'
      ? Promise.resolve('solved')
      : Promise.reject(new StageFailed('M_FORBIDDEN', 'That is not it.')),
};
const shut: Stage = {
  type: 'test.shut',
  attempt: () => Promise.reject(new MatrixError('M_LIMIT_EXCEEDED', 'No more.')),
};

const request = (more: Partial<UiaRequest> = {}): UiaRequest => ({
  operation: 'something',
  flows: [['test.riddle', 'm.login.dummy'], ['test.shut']],
  userId: '@a:b',
  auth: undefined,
  ip: '::1',
  ...more,
});

describe('UiaService', () => {
  let clock: ManualClock;
  let uia: UiaService;
  beforeEach(() => {
    clock = new ManualClock();
    const store = new MemoryUiaSessions(clock, { lifetimeMs: 1000, maxSessions: 3 });
    uia = new UiaService({ store, stages: [dummyStage, riddle, shut], random: systemRandom, clock });
  });

  const challenge = async (of: UiaRequest): Promise<UiaChallenge> => {
    const error: unknown = await uia.authorize(of).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).to.be.instanceOf(UiaChallenge);
    return error as UiaChallenge;
  };

  it('tells flows and the params of their stages', async () => {
    const { status, challenge: body } = await challenge(request());
    expect(status).to.equal(401);
    expect(body.flows).to.deep.equal([{ stages: ['test.riddle', 'm.login.dummy'] }, { stages: ['test.shut'] }]);
    expect(body.params).to.deep.equal({ 'test.riddle': { question: 'left or right?' } });
  });

  it('leads through the stages of a flow and hands over what was proved', async () => {
    const { challenge: first } = await challenge(request());
    const { session } = first;
    const { challenge: wrong } = await challenge(request({ auth: { type: 'test.riddle', session, answer: 'left' } }));
    expect(wrong).to.include({ errcode: 'M_FORBIDDEN', error: 'That is not it.', session });
    expect(wrong).to.not.have.property('completed');
    const { challenge: half } = await challenge(request({ auth: { type: 'test.riddle', session, answer: 'right' } }));
    expect(half.completed).to.deep.equal(['test.riddle']);
    expect(half).to.not.have.property('errcode');
    const { challenge: retried } = await challenge(request({ auth: { type: 'test.riddle', session, answer: 'left' } }));
    expect(retried.completed, 'completed stages cannot be retried').to.deep.equal(['test.riddle']);
    expect(retried).to.not.have.property('errcode');
    const done = await uia.authorize(request({ auth: { type: 'm.login.dummy', session } }));
    expect(done.proofs).to.deep.equal({ 'test.riddle': 'solved' });
    const again = await uia.authorize(request({ auth: { session } }));
    expect(again.id).to.equal(session);
  });

  it('answers 401 when stages are not completed in order', async () => {
    const { challenge: body } = await challenge(request({ auth: { type: 'm.login.dummy' } }));
    expect(body.errcode).to.equal('M_FORBIDDEN');
    expect(body).to.not.have.property('completed');
  });

  it('answers 401 for a stage that no flow has', async () => {
    const { challenge: body } = await challenge(request({ flows: [['test.riddle']], auth: { type: 'm.login.dummy' } }));
    expect(body.errcode).to.equal('M_UNRECOGNIZED');
  });

  it('never lets a request pass without auth, nor with an empty one', async () => {
    await challenge(request({ flows: [['m.login.dummy']] }));
    await challenge(request({ flows: [['m.login.dummy']], auth: {} }));
  });

  it('passes on errors that are not about the stage', async () => {
    const error = await uia.authorize(request({ auth: { type: 'test.shut' } })).catch((thrown: unknown) => thrown);
    expect(error).to.be.instanceOf(MatrixError).and.not.instanceOf(UiaChallenge);
  });

  it('answers 403 when operation, parameters or user differ from those of the session', async () => {
    const { challenge: body } = await challenge(request({ parameters: ['a'] }));
    const auth = { session: body.session };
    for (const other of [
      { operation: 'else', parameters: ['a'] },
      { parameters: ['b'] },
      { parameters: ['a'], userId: '@c:b' },
    ]) {
      const error = await uia.authorize(request({ ...other, auth })).catch((thrown: unknown) => thrown);
      expect(error).to.have.property('status', 403);
    }
  });

  it('begins anew when the session has expired, was ended or was pushed out by others', async () => {
    const begin = async (): Promise<string> => {
      const { session } = (await challenge(request())).challenge;
      await challenge(request({ auth: { type: 'test.riddle', session, answer: 'right' } }));
      return session;
    };
    const resumes = async (session: string): Promise<boolean> =>
      (await challenge(request({ auth: { session } }))).challenge.completed?.length === 1;

    const expired = await begin();
    await clock.advance(999);
    expect(await resumes(expired)).to.equal(true);
    await clock.advance(1);
    expect(await resumes(expired)).to.equal(false);

    const ended = await begin();
    const done = await uia.authorize(request({ auth: { type: 'm.login.dummy', session: ended } }));
    await uia.end(done);
    expect(await resumes(ended)).to.equal(false);

    const pushedOut = await begin();
    for (let other = 0; other < 3; other += 1) await challenge(request());
    expect(await resumes(pushedOut)).to.equal(false);
  });
});
