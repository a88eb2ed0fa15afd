import { expect } from 'chai';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { JoinAnswerReader } from '#src/services/federation/room-import/join-answer-reader.ts';
import { BadAnswerError, TooLongAnswerError } from '#src/services/federation/room-import/join-answer-splitter.ts';
import { type AnswerTopic, LargeAnswers } from '#src/services/federation/room-import/large-answers.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { until } from '#test/support/until.ts';

const MIB = 1024 ** 2;
const PIECE = Buffer.alloc(64 * 1024, ' ');
const HOUR = 3_600_000;

const topic = (server: string, roomId = '!room:p.test'): AnswerTopic => ({ server, roomId, request: 'send_join' });

describe('large responses with room states', () => {
  let clock: ManualClock;
  let answers: LargeAnswers;
  beforeEach(() => {
    clock = new ManualClock();
    answers = new LargeAnswers({ clock, turns: { resume: () => Promise.resolve() } });
  });

  /** A body of so many bytes, each piece of which takes as long as told. */
  async function* bodyOf(bytes: number, msPerPiece: (read: number) => number = () => 0): AsyncGenerator<Buffer> {
    for (let read = 0; read < bytes; read += PIECE.length) {
      clock.spend(msPerPiece(read));
      yield PIECE;
    }
  }
  const drain = async (pieces: AsyncIterable<Buffer>): Promise<number> => {
    let bytes = 0;
    for await (const piece of pieces) bytes += piece.length;
    return bytes;
  };
  const failing = (error: Error) => async (pieces: AsyncIterable<Buffer>) => {
    await drain(pieces);
    throw error;
  };
  /** Has an answer of 9 MiB fail. @returns the bytes that were charged */
  const fail = async (about: AnswerTopic, error: Error = new BadAnswerError('useless')): Promise<number> => {
    let charged = 0;
    const onUseless = (bytes: number): void => void (charged += bytes);
    const outcome = await answers
      .read({ ...about, body: bodyOf(9 * MIB), onUseless }, failing(error))
      .catch((thrown: unknown) => thrown);
    expect(outcome).to.equal(error);
    return charged;
  };

  describe('after a large useless response', () => {
    it('pauses its server for that room for a minute, but not for other rooms, nor other servers', async () => {
      expect(await fail(topic('p.test'))).to.equal(9 * MIB);
      expect(answers.isPaused(topic('p.test'))).to.equal(true);
      expect(answers.isPaused({ ...topic('p.test'), request: 'state' })).to.equal(false);
      expect(answers.isPaused(topic('p.test', '!other:p.test'))).to.equal(false);
      expect(answers.isPaused(topic('q.test'))).to.equal(false);
      clock.spend(60_001);
      expect(answers.isPaused(topic('p.test'))).to.equal(false);
    });
    it('the pause is not longer when the clock of the machine is set back', async () => {
      await fail(topic('p.test'));
      clock.set(-24 * HOUR);
      clock.spend(60_001);
      expect(answers.isPaused(topic('p.test'))).to.equal(false);
    });
    it('the pause is longer each time, up to a day', async () => {
      const about = topic('p.test');
      const lengths: number[] = [];
      for (let time = 0; time < 13; time += 1) {
        await fail(about);
        const began = clock.monotonic();
        while (answers.isPaused(about)) clock.spend(60_000);
        lengths.push((clock.monotonic() - began) / 60_000);
      }
      expect(lengths).to.deep.equal([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 1_440, 1_440]);
    });
    it('pauses its server for all rooms after three useless rooms within an hour', async () => {
      for (const room of ['!1:p.test', '!2:p.test', '!2:p.test']) await fail(topic('p.test', room));
      expect(answers.isPaused(topic('p.test', '!new:p.test'))).to.equal(false);
      await fail(topic('p.test', '!3:p.test'));
      expect(answers.isPaused(topic('p.test', '!new:p.test'))).to.equal(true);
      expect(answers.isPaused(topic('q.test', '!new:p.test'))).to.equal(false);
    });
    it('counts neither useless rooms of more than an hour ago, nor rooms with a useful response since', async () => {
      for (const room of ['!1:p.test', '!2:p.test']) await fail(topic('p.test', room));
      clock.spend(HOUR);
      await fail(topic('p.test', '!3:p.test'));
      await fail(topic('p.test', '!4:p.test'));
      expect(answers.isPaused(topic('p.test', '!new:p.test'))).to.equal(false);
      await answers.read({ ...topic('p.test', '!5:p.test'), body: bodyOf(PIECE.length) }, drain);
      await fail(topic('p.test', '!6:p.test'));
      expect(answers.isPaused(topic('p.test', '!new:p.test'))).to.equal(false);
    });
    it('charges the user, and does not pause the server for other rooms, if the response was only too long', async () => {
      for (let room = 0; room < 8; room += 1)
        expect(await fail(topic('p.test', `!${room}:p.test`), new TooLongAnswerError('too long'))).to.equal(9 * MIB);
      expect(answers.isPaused(topic('p.test', '!new:p.test'))).to.equal(false);
      clock.spend(HOUR - 1);
      expect(answers.isPaused(topic('p.test', '!0:p.test'))).to.equal(true);
      clock.spend(1);
      expect(answers.isPaused(topic('p.test', '!0:p.test'))).to.equal(false);
    });
  });

  describe('that break off', () => {
    const breaking = async function* (bytes: number): AsyncGenerator<Buffer> {
      yield* bodyOf(bytes);
      throw new Error('reset');
    };
    const read = async (bytes: number, signal?: AbortSignal): Promise<number> => {
      let charged = 0;
      const onUseless = (count: number): void => void (charged += count);
      await answers.read({ ...topic('p.test'), body: breaking(bytes), onUseless, signal }, drain).then(
        () => expect.fail('it was read'),
        (error: unknown) => expect(error).to.have.property('message', 'reset'),
      );
      return charged;
    };

    it('are useless when they were large', async () => {
      expect(await read(20 * MIB)).to.equal(20 * MIB);
      expect(answers.isPaused(topic('p.test'))).to.equal(true);
    });
    it('are not held against a server when they were small, or were not wanted any more', async () => {
      expect(await read(2 * MIB)).to.equal(0);
      expect(await read(20 * MIB, AbortSignal.abort())).to.equal(0);
      expect(answers.isPaused(topic('p.test'))).to.equal(false);
    });
    it('are not held against a server that waited for the turns of this one, or until this one had used what came', async () => {
      answers = new LargeAnswers({ clock, turns: { resume: () => Promise.resolve(clock.spend(200)) } });
      expect(await read(20 * MIB)).to.equal(0);
      answers = new LargeAnswers({ clock, turns: { resume: () => Promise.resolve() } });
      await answers
        .read({ ...topic('p.test'), body: breaking(20 * MIB) }, async (pieces) => {
          for await (const _ of pieces) clock.spend(200);
        })
        .catch((error: unknown) => expect(error).to.have.property('message', 'reset'));
      expect(answers.isPaused(topic('p.test'))).to.equal(false);
    });
    it('give their places to others, even where they cannot be closed', async () => {
      const stuck = new Error('it cannot be closed');
      for (let index = 0; index < 5; index += 1) {
        const pieces = bodyOf(5 * MIB);
        const body = { next: () => pieces.next(), return: () => Promise.reject(stuck) };
        const outcome = await answers
          .read({ ...topic(`stuck${index}.test`), body }, drain)
          .catch((error: unknown) => error);
        expect(outcome).to.equal(stuck);
      }
    });
    it('are not held against a server when this one fails', async () => {
      expect(await fail(topic('p.test'), new Error('the database is away'))).to.equal(0);
      expect(answers.isPaused(topic('p.test'))).to.equal(false);
    });
  });

  describe('that are slow', () => {
    /** The rest of it comes at 100 KiB in a second, as on a slow line. */
    const slow = (): AsyncGenerator<Buffer> => bodyOf(40 * MIB, (read) => (read < 9 * MIB ? 0 : 640));

    it('are read to their end where nobody else waits', async () => {
      expect(await answers.read({ ...topic('slow0.test'), body: slow() }, drain)).to.equal(40 * MIB);
    });
    it('give their slot to waiting responses, without a penalty for their servers', async () => {
      const held = Promise.withResolvers<void>();
      let reading = 0;
      let charged = 0;
      const onUseless = (bytes: number): void => void (charged += bytes);
      const outcomes = Array.from({ length: 4 }, (_, index) =>
        answers
          .read({ ...topic(`slow${index}.test`), body: slow(), onUseless }, async (pieces) => {
            let bytes = 0;
            for await (const piece of pieces) {
              bytes += piece.length;
              if (bytes !== 9 * MIB) continue;
              reading += 1;
              await held.promise;
            }
            return bytes;
          })
          .catch((error: unknown) => error),
      );
      await until('all places are taken', () => reading === 4);
      let asked = 0;
      let entered: number | undefined;
      const honest = answers.read({ ...topic('honest.test'), body: bodyOf(20 * MIB) }, async (pieces) => {
        let bytes = 0;
        for await (const piece of pieces) {
          bytes += piece.length;
          asked = bytes;
          if (bytes > 4 * MIB) entered ??= clock.monotonic();
        }
        return bytes;
      });
      await until('the fifth one waits', () => asked >= 4 * MIB);
      const before = clock.monotonic();
      held.resolve();
      expect(await honest).to.equal(20 * MIB);
      // Four of them take turns on this clock, each of which may be slow for some twenty seconds of its own.
      expect((entered ?? Infinity) - before).to.be.within(15_000, 4 * 30_000);
      const slowly = (await Promise.all(outcomes)).filter((outcome) => outcome instanceof BadAnswerError);
      expect(slowly[0]?.message).to.equal('The answer comes too slowly while others wait.');
      expect(charged).to.equal(0);
    });
  });

  describe('are read', () => {
    const version = roomVersion('10')!;
    const room = { roomId: '!room:p.test', version };
    const bounds = { bytes: 200 * MIB, events: 1_000_000, eventBytes: 262_144, memberBytes: 65_536 };
    /** Events that differ, and that nobody can verify any more. */
    async function* unverifiable(bytes: number): AsyncGenerator<Buffer> {
      yield Buffer.from('{"auth_chain":[],"state":[');
      const text = 'x'.repeat(60_000);
      for (let read = 0, index = 0; read < bytes; index += 1) {
        const piece = Buffer.from(
          `${index === 0 ? '' : ','}{"type":"org.large","state_key":"${index}","text":"${text}"}`,
        );
        read += piece.length;
        yield piece;
      }
      yield Buffer.from(']}');
    }
    const read = async (bytes: number): Promise<string> => {
      const verifier = {
        verify: (_: unknown, pdus: readonly unknown[]) =>
          Promise.resolve(pdus.map(() => ({ ok: false, reason: 'no key' }) as const)),
      };
      const reader = new JoinAnswerReader(verifier, bounds, answers);
      const outcome = await reader
        .read(room, { ...topic('p.test'), body: unverifiable(bytes) }, () => Promise.resolve('read'))
        .catch((error: unknown) => error);
      return outcome instanceof Error ? outcome.message : String(outcome);
    };

    it('as far as 60 MiB of events that cannot be verified any more, as old rooms have them', async () => {
      expect(await read(60 * MIB)).to.equal('The state has no valid m.room.create.');
    });
    it('no further than 64 MiB of events of which hardly one can be verified', async () => {
      expect(await read(190 * MIB)).to.equal(
        'Most of the answer is useless: the signatures of its events cannot be verified.',
      );
    });
    it('and are useless when their use shows it', async () => {
      const refused = new BadAnswerError('It does not fit.');
      let isUsed = false;
      await answers
        .read({ ...topic('p.test'), body: bodyOf(9 * MIB) }, async (pieces) => {
          await drain(pieces);
          isUsed = true;
          throw refused;
        })
        .catch((error: unknown) => expect(error).to.equal(refused));
      expect([isUsed, answers.isPaused(topic('p.test'))]).to.deep.equal([true, true]);
    });
  });
});
