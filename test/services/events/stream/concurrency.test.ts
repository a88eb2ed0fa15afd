import { expect } from 'chai';
import fc from 'fast-check';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Transaction } from '#src/services/events/building/event-draft.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { ALICE, makeRoom, membership, message, portrait, SERVER, topic } from '#test/support/event-services.ts';
import { EventDatabase } from './event-database.ts';

const user = (n: number): string => `@user${n}:${SERVER}`;

const txn = (txnId: string, deviceId = 'DEVICE'): Transaction => ({ userId: ALICE, deviceId, scope: 'send', txnId });

describe('the event service with', function () {
  this.timeout(60_000);
  let db: EventDatabase;

  before(async () => {
    db = await EventDatabase.open();
  });
  after(() => db.drop());

  /** Holds a room's rows against the rule that local events make one line, and its states against a replay. */
  const expectOneLine = async (room: Room): Promise<void> => {
    const stored = await db.rows<{ nid: string; topo: string; prev: string[]; state: string; skey: number | null }>(
      'select nid, topo, prev, state, skey from events where room = $1 order by nid',
      [room.nid],
    );
    let before: (typeof stored)[number] | undefined;
    const plain = new Map<number, number>();
    let state = '0';
    for (const row of stored) {
      expect(row.prev).to.deep.equal(before === undefined ? [] : [before.nid]);
      expect(Number(row.topo)).to.equal(before === undefined ? 1 : Number(before.topo) + 1);
      expect(row.state).to.equal(state);
      if (row.skey !== null) {
        state = row.nid;
        plain.set(row.skey, Number(row.nid));
      }
      before = row;
    }
    expect(room.stateId).to.equal(Number(state));
    const chain = room.stateChain;
    expect(new Map([...chain.others(), ...chain.members()].sort((a, b) => a[0] - b[0]))).to.deep.equal(
      new Map([...plain].sort((a, b) => a[0] - b[0])),
    );
  };

  describe('many at once', () => {
    it('messages and changes of state of many senders make one line, with every event in it', async () => {
      const room = await makeRoom(db.services);
      const senders = Array.from({ length: 16 }, (_, n) => user(n));
      await Promise.all(senders.map((sender) => db.services.events.send(room, membership(sender, sender, 'join'))));
      const ids = await Promise.all(
        senders.flatMap((sender, n) =>
          Array.from({ length: 20 }, async (_, i) => {
            if (i % 5 === 0) return (await db.services.events.send(room, topic(sender, `${n} ${i}`))).eventId;
            if (i % 7 === 0)
              return (await db.services.events.send(room, membership(sender, sender, 'join', { displayname: `${i}` })))
                .eventId;
            return (await db.services.events.send(room, message(sender, `${i}`))).eventId;
          }),
        ),
      );
      expect(new Set(ids).size).to.equal(ids.length);
      for (const id of ids) expect(await db.services.events.find(room, id)).not.to.equal(undefined);
      await expectOneLine(room);
      expect(portrait(await db.reloaded(room))).to.deep.equal(portrait(room));
    });

    const action = fc.record({
      kind: fc.constantFrom(
        'message',
        'message',
        'message',
        'topic',
        'name',
        'join',
        'leave',
        'kick',
        'ban',
        'unban',
        'invite',
        'redact',
        'levels',
        'poison',
      ),
      actor: fc.nat(5),
      target: fc.nat(5),
      pick: fc.nat(1000),
      // How many turns of the event loop to wait before the next.
      pause: fc.constantFrom(0, 0, 0, 0, 1, 2, 30),
    });

    it('a room in memory equals the one that a new process reads, whatever was done to it at once', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 80 }), async (actions) => {
          const name = (n: number): string => (n === 0 ? ALICE : user(n));
          const room = await makeRoom(db.services);
          const { events } = db.services;
          const known: string[] = [];
          const running: Promise<unknown>[] = [];
          for (const { kind, actor, target, pick, pause } of actions) {
            const [by, of] = [name(actor), name(target)];
            const state = (type: string, content: object): Promise<{ eventId: string }> =>
              events.send(room, { type, sender: by, stateKey: '', content: content as never });
            const work = async (): Promise<void> => {
              if (kind === 'redact') {
                const id = known[pick % Math.max(known.length, 1)];
                if (id !== undefined) known.push(await events.redact(room, by, id, {}));
                return;
              }
              const event = await (kind === 'message'
                ? events.send(room, message(by, `${pick}`))
                : kind === 'topic'
                  ? events.send(room, topic(by, `${pick % 3}`))
                  : kind === 'name'
                    ? state('m.room.name', { name: `${pick % 3}` })
                    : kind === 'levels'
                      ? state('m.room.power_levels', { users: { [name(1)]: pick % 100 }, state_default: pick % 2 })
                      : kind === 'join' || kind === 'leave'
                        ? events.send(room, membership(by, by, kind))
                        : // The database refuses it, and everything that was built on it in the meantime.
                          kind === 'poison'
                          ? events
                              .send(room, message(by, 'x'))
                              .then(() => events.sendOnce(room, message(by, 'y'), txn('taken')))
                              .then((eventId) => ({ eventId }))
                          : events.send(
                              room,
                              membership(by, of, kind === 'kick' || kind === 'unban' ? 'leave' : kind),
                            ));
              known.push(event.eventId);
            };
            running.push(
              work().catch((error: unknown) => {
                if (!(error instanceof MatrixError)) throw error;
                expect(error.errcode).to.equal('M_FORBIDDEN');
              }),
            );
            for (let turn = 0; turn < pause; turn++) await new Promise((resolve) => setImmediate(resolve));
          }
          await Promise.all(running);
          await expectOneLine(room);
          const again = await db.reloaded(room);
          db.services.events.transactions.earlier = () => Promise.resolve(undefined);
          expect(portrait(again)).to.deep.equal(portrait(room));
        }),
        { numRuns: 40 },
      );
    });
  });
});
