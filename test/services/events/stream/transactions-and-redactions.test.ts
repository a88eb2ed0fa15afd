import { expect } from 'chai';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Transaction } from '#src/services/events/building/event-draft.ts';
import { ALICE, BOB, makeRoom, membership, message, portrait, SERVER, topic } from '#test/support/event-services.ts';
import { EventDatabase } from './event-database.ts';

const user = (n: number): string => `@user${n}:${SERVER}`;

const txn = (txnId: string, deviceId = 'DEVICE'): Transaction => ({ userId: ALICE, deviceId, scope: 'send', txnId });

const refused = async (work: Promise<unknown>): Promise<MatrixError> => {
  try {
    await work;
  } catch (error) {
    expect(error).to.be.instanceOf(MatrixError);
    return error as MatrixError;
  }
  throw new Error('it was not refused');
};

describe('the event service keeps its word about', function () {
  this.timeout(60_000);
  let db: EventDatabase;

  before(async () => {
    db = await EventDatabase.open();
  });
  after(() => db.drop());

  describe('transaction ids', () => {
    it('make one event, however many send it at once', async () => {
      const room = await makeRoom(db.services);
      const ids = await Promise.all(
        Array.from({ length: 50 }, () => db.services.events.sendOnce(room, message(ALICE, 'once'), txn('a'))),
      );
      expect(new Set(ids).size).to.equal(1);
      expect(await db.rows(`select 1 from events where room = $1 and skey is null`, [room.nid])).to.have.length(1);
    });

    it('belong to a device, and to an endpoint', async () => {
      const room = await makeRoom(db.services);
      const one = await db.services.events.sendOnce(room, message(ALICE, 'x'), txn('shared', 'D1'));
      const two = await db.services.events.sendOnce(room, message(ALICE, 'x'), txn('shared', 'D2'));
      const three = await db.services.events.sendOnce(room, message(ALICE, 'x'), {
        ...txn('shared', 'D1'),
        scope: 'redact',
      });
      expect(new Set([one, two, three]).size).to.equal(3);
    });

    it('make no second event after a restart, alone or many at once', async () => {
      const room = await makeRoom(db.services);
      const keys = Array.from({ length: 30 }, (_, i) => txn(`restart${i}`));
      const before = await Promise.all(keys.map((key) => db.services.events.sendOnce(room, message(ALICE, 'x'), key)));
      const again = await db.reloaded(room);
      const after = await Promise.all(
        [...keys, ...keys].map((key) => db.services.events.sendOnce(again, message(ALICE, 'x'), key)),
      );
      expect(after).to.deep.equal([...before, ...before]);
      expect(await db.rows(`select 1 from events where room = $1 and skey is null`, [room.nid])).to.have.length(30);
    });

    it('are kept also by a process that no longer asks for earlier ones, and harm no one else in the batch', async () => {
      const room = await makeRoom(db.services);
      const earlier = await db.services.events.sendOnce(room, message(ALICE, 'x'), txn('late'));
      const again = await db.reloaded(room);
      db.services.events.transactions.earlier = () => Promise.resolve(undefined);
      const [late, ...others] = await Promise.all([
        db.services.events.sendOnce(again, message(ALICE, 'x'), txn('late')),
        ...Array.from({ length: 20 }, (_, i) => db.services.events.send(again, message(ALICE, `other ${i}`))),
        db.services.events.send(again, topic(ALICE, 'other')),
      ]);
      expect(late).to.equal(earlier);
      expect(new Set(others.map((event) => event.eventId)).size).to.equal(21);
      const now = portrait(again);
      expect(portrait(await db.reloaded(again))).to.deep.equal(now);
    });

    it('may be used again when the event was refused', async () => {
      const room = await makeRoom(db.services);
      const error = await refused(db.services.events.sendOnce(room, message(BOB, 'x'), txn('again')));
      expect(error.errcode).to.equal('M_FORBIDDEN');
      await db.services.events.send(room, membership(BOB, BOB, 'join'));
      expect(await db.services.events.sendOnce(room, message(BOB, 'x'), txn('again'))).to.match(/^\$/);
    });

    it('are shown to the device that sent the event, and to no other', async () => {
      const room = await makeRoom(db.services);
      const id = await db.services.events.sendOnce(room, message(ALICE, 'x'), txn('mine', 'D1'));
      const event = (await db.services.events.find(room, id))!;
      expect(event.transactionIdFor({ userId: ALICE, deviceId: 'D1' })).to.equal('mine');
      expect(event.transactionIdFor({ userId: ALICE, deviceId: 'D2' })).to.equal(undefined);
      expect(event.transactionIdFor({ userId: ALICE, deviceId: undefined })).to.equal(undefined);
      expect(event.transactionIdFor({ userId: BOB, deviceId: 'D1' })).to.equal(undefined);
    });
  });

  describe('redaction', () => {
    it('empties a message, in memory and on disk, and tells why', async () => {
      const room = await makeRoom(db.services);
      const said = await db.services.events.send(room, message(ALICE, 'secret words'));
      const id = await db.services.events.redact(room, ALICE, said.eventId, { reason: 'typo' });
      expect(said.clientJson({ now: 0, membership: 'join' }, false)).not.to.contain('secret');
      expect(said.redactedBecause?.eventId).to.equal(id);
      const [row] = await db.rows<{ json: string; redacted_by: string }>(
        'select json, redacted_by from events where nid = $1',
        [said.nid],
      );
      expect(row!.json).not.to.contain('secret');
      const again = await db.reloaded(room);
      const found = await db.services.events.find(again, said.eventId);
      expect(found?.json).to.equal(said.json);
      expect(found?.redactedBecause?.eventId).to.equal(id);
    });

    it('of a state event leaves its place in the state, and what its version keeps', async () => {
      const room = await makeRoom(db.services);
      const set = await db.services.events.send(room, topic(ALICE, 'secret words'));
      await db.services.events.redact(room, ALICE, set.eventId, {});
      expect(room.stateEvent('m.room.topic')?.eventId).to.equal(set.eventId);
      expect(room.stateText('m.room.topic', 'topic')).to.equal(undefined);
      const again = await db.reloaded(room);
      expect(portrait(again)).to.deep.equal(portrait(room));
      expect(again.stateEvent('m.room.topic')?.content).to.deep.equal({});
      // What the redacted event said may be said again.
      const anew = await db.services.events.send(again, topic(ALICE, 'secret words'));
      expect(again.stateEvent('m.room.topic')).to.equal(anew);
      expect(anew.clientJson({ now: 0, membership: 'join' }, false).match(/secret/g)).to.have.length(1);
    });

    it('of an event that has since been replaced is seen in what replaced it', async () => {
      const room = await makeRoom(db.services);
      const first = await db.services.events.send(room, topic(ALICE, 'secret words'));
      await db.services.events.send(room, topic(ALICE, 'harmless'));
      // In memory only what replaced it: the replaced event comes along with that.
      const again = await db.reloaded(room);
      const later = again.stateEvent('m.room.topic')!;
      expect(later.clientJson({ now: 0, membership: 'join' }, false)).to.contain('secret');
      await db.services.events.redact(again, ALICE, first.eventId, {});
      expect(later.clientJson({ now: 0, membership: 'join' }, false)).not.to.contain('secret');
    });

    it('of an id that nobody knows is sent all the same', async () => {
      const room = await makeRoom(db.services);
      const id = await db.services.events.redact(room, ALICE, `$${'a'.repeat(43)}`, {});
      expect((await db.services.events.find(room, id))?.type).to.equal('m.room.redaction');
    });

    it('of an event of another room changes nothing there', async () => {
      const [here, there] = [await makeRoom(db.services), await makeRoom(db.services)];
      const said = await db.services.events.send(there, message(ALICE, 'stays'));
      await db.services.events.redact(here, ALICE, said.eventId, {});
      expect(said.content['body']).to.equal('stays');
      expect(said.redactedBecause).to.equal(undefined);
      const [row] = await db.rows<{ json: string }>('select json from events where nid = $1', [said.nid]);
      expect(row!.json).to.contain('stays');
    });

    it('is for the sender and for those with the power to', async () => {
      const room = await makeRoom(db.services);
      for (const name of [BOB, user(1)]) await db.services.events.send(room, membership(name, name, 'join'));
      const said = await db.services.events.send(room, message(BOB, 'mine'));
      expect((await refused(db.services.events.redact(room, user(1), said.eventId, {}))).errcode).to.equal(
        'M_FORBIDDEN',
      );
      expect(said.redactedBecause).to.equal(undefined);
      await db.services.events.redact(room, BOB, said.eventId, {});
      expect(said.redactedBecause).not.to.equal(undefined);
    });
  });
});
