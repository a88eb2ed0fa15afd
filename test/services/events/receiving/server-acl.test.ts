import { expect } from 'chai';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  type EventServices,
  eventServices,
  makeRoom,
  membership,
  message,
} from '#test/support/event-services.ts';
import { CAROL, RemoteRoom } from '#test/support/federation/remote-room.ts';

describe('the server ACL of a room', () => {
  let clone: TestDatabase;
  let services: EventServices;
  let remote: RemoteRoom;

  before(async () => {
    clone = await cloneDatabase();
    services = await eventServices(clone.database);
  });
  after(() => clone.drop());
  beforeEach(async () => {
    remote = new RemoteRoom(services, await makeRoom(services));
    await remote.catchUp();
    await remote.accepted(membership(CAROL, CAROL, 'join'));
  });

  const rule = async (content: JsonObject): Promise<string> => {
    const draft = { type: 'm.room.server_acl', sender: ALICE, stateKey: '', content };
    const { eventId } = await services.events.send(remote.room, draft);
    await remote.catchUp();
    return eventId;
  };
  const sentBy = async (origin: string | undefined): Promise<string> => {
    const reception = await remote.receive(remote.build(message(CAROL, `by ${origin}`)), origin);
    await remote.catchUp();
    return reception.outcome;
  };
  const allowed = (names: readonly string[]): string[] => names.filter((name) => remote.room.allowsServer(name));

  it('lets everybody in where there is none', async () => {
    expect(await sentBy('a.example')).to.equal('accepted');
    expect(allowed(['a.example', '1.2.3.4', '[::1]:8448'])).to.have.length(3);
  });

  it('keeps out what denied servers send, whoever made it, and nothing of it is stored', async () => {
    await rule({ allow: ['*'], deny: ['a.example', '*.evil.example'] });
    const last = remote.room.lastPosition;
    for (const origin of ['a.example', 'A.Example:8448', 'very.evil.example'])
      expect(await sentBy(origin), origin).to.equal('denied');
    expect(remote.room.lastPosition).to.equal(last);
    // Made on a.example, and passed on by a server that may: ACLs are about who sends.
    expect(await sentBy('b.example')).to.equal('accepted');
  });

  it('does not look at who made what was asked for', async () => {
    await rule({ allow: ['*'], deny: ['a.example'] });
    expect(await sentBy(undefined)).to.equal('accepted');
  });

  it('holds from the moment in which it changes, also when it is taken back', async () => {
    await rule({ allow: ['*'], deny: ['a.example'] });
    expect(await sentBy('a.example')).to.equal('denied');
    await rule({ allow: ['a.*'] });
    expect(await sentBy('a.example')).to.equal('accepted');
    expect(await sentBy('b.example')).to.equal('denied');
  });

  it('is read with its ports, IP literals, globs and case', async () => {
    await rule({ allow: ['*.Example', 's?.test', '1.2.*', '[2001:*'], deny: ['BAD.example'], allow_ip_literals: true });
    const names = [
      'a.example:8448',
      'S1.test',
      's12.test',
      'bad.EXAMPLE:1',
      'b.example.org',
      '1.2.3.4',
      '[2001:db8::1]:1',
    ];
    expect(allowed(names)).to.deep.equal(['a.example:8448', 'S1.test', '1.2.3.4', '[2001:db8::1]:1']);
    await rule({ allow: ['*'], allow_ip_literals: false });
    expect(allowed(names)).to.deep.equal(names.slice(0, 5));
  });

  it('denies everybody when its lists are missing or malformed, or when it was redacted', async () => {
    for (const content of [{}, { allow: 'a.example' }, { allow: [7, null, ['*']] }, { deny: [] }]) {
      await rule(content as JsonObject);
      expect(allowed(['a.example', '1.2.3.4']), JSON.stringify(content)).to.deep.equal([]);
    }
    const eventId = await rule({ allow: ['*'], deny: 'a.example', allow_ip_literals: 'no' });
    expect(allowed(['a.example', '1.2.3.4', 'no name'])).to.deep.equal(['a.example', '1.2.3.4']);
    await services.events.send(remote.room, {
      type: 'm.room.redaction',
      sender: ALICE,
      redacts: eventId,
      content: { redacts: eventId },
    });
    expect(allowed(['a.example'])).to.deep.equal([]);
  });

  it('is the same after the room was read back', async () => {
    await rule({ allow: ['*'], deny: ['a.example'] });
    const fresh = await eventServices(clone.database);
    const room = (await fresh.rooms.byNid(remote.room.nid))!;
    expect([room.allowsServer('a.example'), room.allowsServer('b.example')]).to.deep.equal([false, true]);
  });
});
