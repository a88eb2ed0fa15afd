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
    const store = new MemoryUiaSessions(clock, { lifetimeMs: 1000, maxBytes: 80 * 1024, maxBytesOfParty: 4 * 1024 });
    uia = new UiaService({ store, stages: [dummyStage, riddle, shut], random: systemRandom, clock });
  });

  /** What was proved, once the request may pass. */
  const authorize = (of: UiaRequest): Promise<Readonly<Record<string, string>>> =>
    uia.perform(of, ({ proofs }) => Promise.resolve(proofs));

  const challenge = async (of: UiaRequest): Promise<UiaChallenge> => {
    const error: unknown = await authorize(of).then(
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
    expect(wrong.completed, 'nothing is completed by a wrong answer').to.deep.equal([]);
    const { challenge: half } = await challenge(request({ auth: { type: 'test.riddle', session, answer: 'right' } }));
    expect(half.completed).to.deep.equal(['test.riddle']);
    expect(half).to.not.have.property('errcode');
    const { challenge: retried } = await challenge(request({ auth: { type: 'test.riddle', session, answer: 'left' } }));
    expect(retried.completed, 'completed stages cannot be retried').to.deep.equal(['test.riddle']);
    expect(retried).to.not.have.property('errcode');
    expect(await authorize(request({ auth: { type: 'm.login.dummy', session } }))).to.deep.equal({
      'test.riddle': 'solved',
    });
  });

  it('answers 401 when stages are not completed in order', async () => {
    const { challenge: body } = await challenge(request({ auth: { type: 'm.login.dummy' } }));
    expect(body).to.deep.include({ errcode: 'M_FORBIDDEN', completed: [] });
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
    const error = await authorize(request({ auth: { type: 'test.shut' } })).catch((thrown: unknown) => thrown);
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
      const error = await authorize(request({ ...other, auth })).catch((thrown: unknown) => thrown);
      expect(error).to.have.property('status', 403);
    }
  });

  describe('sessions', () => {
    const begin = async (of: Partial<UiaRequest> = {}): Promise<string> => {
      const { session } = (await challenge(request(of))).challenge;
      await challenge(request({ ...of, auth: { type: 'test.riddle', session, answer: 'right' } }));
      return session;
    };
    const resumes = async (session: string, of: Partial<UiaRequest> = {}): Promise<boolean> =>
      (await challenge(request({ ...of, auth: { session } }))).challenge.completed?.length === 1;

    it('expire, and then the client begins anew', async () => {
      const expired = await begin();
      await clock.advance(999);
      expect(await resumes(expired)).to.equal(true);
      await clock.advance(1);
      expect(await resumes(expired)).to.equal(false);
    });

    it('give way to newer ones of the same user or network, and to nobody else’s', async () => {
      const stranger = { userId: undefined, ip: '192.0.2.1' };
      const [mine, theirs] = [await begin(), await begin(stranger)];
      for (let other = 0; other < 200; other += 1) {
        await challenge(request({ userId: '@many:b' }));
        await challenge(request({ userId: undefined, ip: '2001:db8::1' }));
      }
      expect([await resumes(mine), await resumes(theirs, stranger)]).to.deep.equal([true, true]);
      for (let other = 0; other < 5; other += 1) await challenge(request());
      expect([await resumes(mine), await resumes(theirs, stranger)]).to.deep.equal([false, true]);
    });

    it('weigh what is asked for in them: nobody keeps much by asking for much', async () => {
      const long = 'x'.repeat(1_000);
      const ask = async (n: number): Promise<string> => {
        const gather = () => Promise.resolve(`${n} ${long}`);
        const asked = { ...request(), gather, repeats: () => true };
        const error: unknown = await uia
          .performGathered(asked, () => Promise.resolve())
          .catch((thrown: unknown) => thrown);
        return (error as UiaChallenge).challenge.session;
      };
      const [first, second] = [await ask(1), await ask(2)];
      const completed = async (session: string): Promise<unknown> =>
        (await challenge(request({ auth: { type: 'test.riddle', session, answer: 'right' } }))).challenge.errcode;
      expect(await completed(second)).to.equal(undefined);
      expect(await completed(first)).to.equal('M_UNKNOWN');
    });
  });

  const dummy = (session: string): UiaRequest =>
    request({ flows: [['m.login.dummy']], auth: { type: 'm.login.dummy', session } });
  const begun = async (): Promise<string> =>
    (await challenge(request({ flows: [['m.login.dummy']] }))).challenge.session;

  it('does what was asked for once, and gives its result to whoever repeats the request, until the session expires', async () => {
    const session = await begun();
    let count = 0;
    const operation = async (): Promise<number> => (count += 1);
    expect(await Promise.all([1, 2, 3].map(() => uia.perform(dummy(session), operation)))).to.deep.equal([1, 1, 1]);
    expect(await uia.perform({ ...dummy(session), auth: { session } }, operation)).to.equal(1);
    expect(count).to.equal(1);
    await clock.advance(1000);
    await challenge(dummy(session));
  });

  it('lets what failed be tried again, without another authentication', async () => {
    const session = await begun();
    const failure = new Error('the database is away');
    const failed = await uia.perform(dummy(session), () => Promise.reject(failure)).catch((thrown: unknown) => thrown);
    expect(failed).to.equal(failure);
    expect(await uia.perform({ ...dummy(session), auth: { session } }, () => Promise.resolve('done'))).to.equal('done');
  });

  it('does not take the word of a session that was never begun: its stage is not even looked at', async () => {
    const { challenge: body } = await challenge(dummy('made-up'));
    expect(body).to.deep.include({ errcode: 'M_UNKNOWN', completed: [] });
    expect(body.session).to.not.equal('made-up');
    expect(await authorize(dummy(body.session))).to.deep.equal({});
  });

  it('gathers what the requests of a session ask for, and refuses to do something else when it is done', async () => {
    const session = await begun();
    const ask = (wish: string | undefined, more: Partial<UiaRequest> = {}): Promise<string> =>
      uia.performGathered<string, string>(
        {
          ...dummy(session),
          ...more,
          gather: async (earlier) => wish ?? earlier ?? '',
          repeats: (done) => wish === undefined || wish === done,
        },
        async ({ params }) => `did ${params}`,
      );
    const begin = (wish: string) => ask(wish, { auth: { session } }).catch((thrown: unknown) => thrown);
    expect(await begin('first')).to.be.instanceOf(UiaChallenge);
    expect(await begin('second')).to.be.instanceOf(UiaChallenge);
    expect(await ask(undefined)).to.equal('did second');
    expect(await ask('second')).to.equal('did second');
    expect(await ask('third').catch((thrown: unknown) => thrown)).to.have.property('errcode', 'M_FORBIDDEN');
  });
});
