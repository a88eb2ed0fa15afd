import { expect } from 'chai';
import {
  type HistoryVisibility,
  mayServerSee,
  mayUserSee,
  parseHistoryVisibility,
} from '#src/protocol/visibility/history-visibility.ts';

const ALL: readonly HistoryVisibility[] = ['world_readable', 'shared', 'invited', 'joined'];
const MEMBERSHIPS = [undefined, 'leave', 'knock', 'ban', 'invite', 'join'] as const;

describe('history visibility', () => {
  it('is shared where it is not set or not understood', () => {
    expect(parseHistoryVisibility(undefined)).to.equal('shared');
    expect(parseHistoryVisibility({ history_visibility: 'secret' })).to.equal('shared');
    expect(parseHistoryVisibility({ history_visibility: 7 })).to.equal('shared');
    for (const visibility of ALL)
      expect(parseHistoryVisibility({ history_visibility: visibility })).to.equal(visibility);
  });

  it('decides as the table of the specification, for every combination', () => {
    const seen: string[] = [];
    for (const visibility of ALL)
      for (const membership of MEMBERSHIPS)
        for (const joinedLater of [false, true])
          if (mayUserSee({ visibility, membership, joinedLater }))
            seen.push(`${visibility}/${membership ?? '-'}/${joinedLater ? 'later' : 'never'}`);
    const both = (v: string, m: string): string[] => [`${v}/${m}/never`, `${v}/${m}/later`];
    const names = MEMBERSHIPS.map((m) => m ?? '-');
    expect(seen).to.have.members([
      ...names.flatMap((m) => both('world_readable', m)),
      ...both('shared', 'join'),
      ...names.filter((m) => m !== 'join').map((m) => `shared/${m}/later`),
      ...both('invited', 'join'),
      ...both('invited', 'invite'),
      ...both('joined', 'join'),
    ]);
  });

  it('shows a change of the visibility if either side of it would', () => {
    const stranger = { membership: undefined, joinedLater: false };
    expect(mayUserSee({ ...stranger, visibility: 'world_readable', visibilityAfter: 'joined' })).to.equal(true);
    expect(mayUserSee({ ...stranger, visibility: 'joined', visibilityAfter: 'world_readable' })).to.equal(true);
    expect(mayUserSee({ ...stranger, visibility: 'joined', visibilityAfter: 'shared' })).to.equal(false);
  });

  it('shows users their own join and the end of their membership', () => {
    const joined = { visibility: 'joined', joinedLater: false } as const;
    expect(mayUserSee({ ...joined, membership: 'leave', membershipAfter: 'join' })).to.equal(true);
    expect(mayUserSee({ ...joined, membership: 'join', membershipAfter: 'leave' })).to.equal(true);
    expect(mayUserSee({ ...joined, membership: 'join', membershipAfter: 'ban' })).to.equal(true);
    expect(mayUserSee({ ...joined, membership: 'leave', membershipAfter: 'invite' })).to.equal(false);
    expect(
      mayUserSee({ visibility: 'invited', joinedLater: false, membership: 'leave', membershipAfter: 'invite' }),
    ).to.equal(true);
  });

  it('gives a server what any of its users may have', () => {
    expect(mayServerSee({ visibilities: ['shared'], memberships: [] })).to.equal(true);
    expect(mayServerSee({ visibilities: ['joined'], memberships: ['leave', 'invite'] })).to.equal(false);
    expect(mayServerSee({ visibilities: ['invited'], memberships: ['leave', 'invite'] })).to.equal(true);
    expect(mayServerSee({ visibilities: ['joined'], memberships: ['leave', 'join'] })).to.equal(true);
    expect(mayServerSee({ visibilities: ['joined', 'world_readable'], memberships: [] })).to.equal(true);
  });
});
