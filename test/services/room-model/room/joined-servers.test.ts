import { expect } from 'chai';
import fc from 'fast-check';
import { MemberTable } from '#src/services/room-model/room/member-table.ts';
import { type Member, MEMBERSHIPS } from '#src/services/room-model/room/membership.ts';

const OWN = 'here.test';
const member = (userId: string, membership: Member['membership']): Member => ({
  userId,
  user: 1,
  membership,
  event: 1,
  since: 1,
  local: userId.endsWith(`:${OWN}`),
  forgotten: false,
});

describe('the servers of a room', () => {
  const users = fc
    .tuple(fc.nat(5), fc.constantFrom(OWN, 'one.test', 'two.test:8448', '[::1]:80'))
    .map(([user, server]) => `@u${user}:${server}`);
  const steps = fc.array(fc.tuple(users, fc.constantFrom(...MEMBERSHIPS)), { maxLength: 60 });

  it('are those of the joined members, whatever memberships change, and whenever they are first asked for', () => {
    fc.assert(
      fc.property(steps, fc.nat(60), (changes, askedAfter) => {
        const now = new Map<string, Member>();
        const table = new MemberTable(new Map());
        changes.forEach(([userId, membership], index) => {
          now.set(userId, member(userId, membership));
          table.set(member(userId, membership));
          if (index < askedAfter) return;
          const expected = new Map<string, number>();
          for (const one of now.values()) {
            if (one.membership !== 'join') continue;
            const server = one.userId.slice(one.userId.indexOf(':') + 1);
            expected.set(server, (expected.get(server) ?? 0) + 1);
          }
          expect(new Map(table.servers.counts)).to.deep.equal(expected);
          expect([...table.servers.remote].toSorted()).to.deep.equal(
            [...expected.keys()].filter((server) => server !== OWN).toSorted(),
          );
        });
      }),
    );
  });

  it('are the same array as long as none comes or goes, so that whoever sends to them need not compare', () => {
    const table = new MemberTable(new Map());
    table.set(member('@a:one.test', 'join'));
    const before = table.servers.remote;
    table.set(member('@b:one.test', 'join'));
    table.set(member('@a:one.test', 'leave'));
    table.set(member(`@c:${OWN}`, 'join'));
    expect(table.servers.remote).to.equal(before);
    table.set(member('@b:one.test', 'ban'));
    expect(table.servers.remote).to.deep.equal([]);
  });
});
