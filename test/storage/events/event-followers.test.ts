import { expect } from 'chai';
import {
  type FollowerCursor,
  followerCursors,
  noteFollowerCursors,
  saveFollowerCursors,
} from '#src/storage/events/event-followers.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';

describe('the cursors of a follower', () => {
  let clone: TestDatabase;
  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone.drop());

  const cursor = (shard: number, pos: number, room: number | null = null): FollowerCursor => ({
    shard,
    pos,
    goal: room === null ? null : 1_000,
    room,
  });
  const noted = (...cursors: FollowerCursor[]) => new Map(cursors.map((one) => [one.shard, one]));
  const note = (cursors: FollowerCursor[], before: ReadonlyMap<number, FollowerCursor>) =>
    noteFollowerCursors(clone.database, 'test', cursors, before);
  const stored = async () => (await followerCursors(clone.database, 'test')).toSorted((a, b) => a.shard - b.shard);

  it('are noted over what was noted last, and not over what a crash left of it: an earlier position, or an earlier room of a page', async () => {
    expect(await note([cursor(0, 10), cursor(1, 11)], noted())).to.equal(true);
    expect(await note([cursor(0, 20), cursor(1, 21, 5)], noted(cursor(0, 10), cursor(1, 11)))).to.equal(true);
    expect(await stored()).to.deep.equal([cursor(0, 20), cursor(1, 21, 5)]);
    // Of another position than is there, and of another room of the same one.
    expect(await note([cursor(0, 30)], noted(cursor(0, 25)))).to.equal(false);
    expect(await note([cursor(1, 21, 9)], noted(cursor(1, 21, 7)))).to.equal(false);
    expect(await stored()).to.deep.equal([cursor(0, 20), cursor(1, 21, 5)]);
    // One of them is behind: the other is noted, and it is told.
    expect(await note([cursor(0, 40), cursor(1, 41)], noted(cursor(0, 20), cursor(1, 30)))).to.equal(false);
    expect(await stored()).to.deep.equal([cursor(0, 40), cursor(1, 21, 5)]);
    expect(await note([cursor(1, 41)], noted(cursor(1, 21, 5)))).to.equal(true);
    await saveFollowerCursors(clone.database, 'test', [cursor(2, 5)]);
    expect(await stored()).to.deep.equal([cursor(0, 40), cursor(1, 41), cursor(2, 5)]);
  });
});
