import { expect } from 'chai';
import fc from 'fast-check';
import { SearchServer } from '#test/integration/reading/search/search-server.ts';
import type { Json, InProcessServer } from '#test/support/in-process-server.ts';

const BOB = '@bob:test';

type Visibility = 'world_readable' | 'shared' | 'invited' | 'joined';
type Step =
  | Visibility
  | 'say'
  | 'invite'
  | 'join'
  | 'leave'
  | 'kick'
  | 'ban'
  | 'unban'
  | 'rename'
  | 'forget'
  | 'restart';

/** One event as the specification's rules see it: what was the case before it, and what it changes. */
interface Told {
  readonly eventId: string;
  readonly visibility: Visibility;
  readonly membership: string;
  readonly visibilityAfter: Visibility | undefined;
  readonly membershipAfter: string | undefined;
}

/** Client-Server API, "Room history visibility", word for word. */
const allows = (visibility: Visibility, membership: string, joinedLater: boolean): boolean =>
  visibility === 'world_readable' ||
  membership === 'join' ||
  (visibility === 'shared' && joinedLater) ||
  (visibility === 'invited' && membership === 'invite');

const maySee = (told: readonly Told[], at: number): boolean => {
  const { visibility, membership, visibilityAfter, membershipAfter } = told[at] as Told;
  const joinedLater = told.slice(at).some((later) => later.membershipAfter === 'join');
  // A user with a membership sees how it ends: their clients would not learn of it otherwise.
  if (membershipAfter !== undefined && told.slice(0, at).some((before) => before.membershipAfter !== undefined))
    return true;
  return (
    allows(visibility, membership, joinedLater) ||
    (visibilityAfter !== undefined && allows(visibilityAfter, membership, joinedLater)) ||
    (membershipAfter !== undefined && allows(visibility, membershipAfter, joinedLater))
  );
};

describe('what a user sees of a room, whatever happened there', function () {
  this.timeout(180_000);
  let server: InProcessServer;
  let search: SearchServer;
  let txn = 0;
  before(async () => {
    search = await SearchServer.start();
    server = search.rooms;
  });
  after(() => search.stop());

  const pages = async (roomId: string, dir: 'b' | 'f', limit: number): Promise<Json[] | undefined> => {
    const found: Json[] = [];
    let from = '';
    for (;;) {
      const { status, body } = await server.ask(
        'bob',
        'GET',
        `/rooms/${roomId}/messages?dir=${dir}&limit=${limit}${from}`,
      );
      if (status === 403) return undefined;
      found.push(...body.chunk);
      if (body.end === undefined) return found;
      from = `&from=${body.end}`;
    }
  };

  const everything = async (roomId: string): Promise<Json[]> =>
    (await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=f&limit=99`)).chunk;

  it('equals the rules of the specification, word for word', async () => {
    const step = fc.constantFrom<Step>(
      'say',
      'say',
      'say',
      'invite',
      'join',
      'join',
      'leave',
      'kick',
      'ban',
      'unban',
      'rename',
      'restart',
      'world_readable',
      'shared',
      'invited',
      'joined',
      'forget',
    );
    let restarts = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 3, maxLength: 24 }),
        fc.constantFrom('6', '11', '12'),
        fc.integer({ min: 1, max: 7 }),
        async (steps, version, limit) => {
          const roomId = await server.room('alice', { preset: 'public_chat', room_version: version });
          const creation: Json[] = (await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=f&limit=99`))
            .chunk;
          let visibility = 'shared' as Visibility;
          let membership = 'leave';
          let left = Infinity;
          let forgotten = false;
          const told: Told[] = [];
          for (const { event_id: eventId, type } of creation) {
            const visibilityAfter = type === 'm.room.history_visibility' ? 'shared' : undefined;
            told.push({ eventId, visibility, membership, visibilityAfter, membershipAfter: undefined });
          }
          const tell = (
            eventId: string,
            after: { visibilityAfter?: Visibility; membershipAfter?: string } = {},
          ): void => {
            const { visibilityAfter, membershipAfter } = after;
            if (told.some((one) => one.eventId === eventId)) return;
            told.push({ eventId, visibility, membership, visibilityAfter, membershipAfter });
            if (membership === 'join' && membershipAfter !== undefined && membershipAfter !== 'join')
              left = told.length;
            if (membershipAfter !== undefined) forgotten = false;
            visibility = visibilityAfter ?? visibility;
            membership = membershipAfter ?? membership;
          };
          const becomes = async (token: string, next: string, content: object = {}): Promise<void> => {
            const path = `/rooms/${roomId}/state/m.room.member/${BOB}`;
            const { status, body } = await server.ask(token, 'PUT', path, { membership: next, ...content });
            if (status === 200) tell(body.event_id, { membershipAfter: next });
          };
          for (const one of steps) {
            txn += 1;
            if (one === 'say') tell(await server.say('alice', roomId, `needle ${txn}`));
            else if (one === 'invite') await becomes('alice', 'invite', { reason: `${txn}` });
            else if (one === 'join') await becomes('bob', 'join');
            else if (one === 'rename') {
              if (membership === 'join') await becomes('bob', 'join', { displayname: `Bob ${txn}` });
            } else if (one === 'leave') await becomes('bob', 'leave', { reason: `${txn}` });
            else if (one === 'kick' || one === 'unban') {
              if (membership !== 'leave' && (membership === 'ban') === (one === 'unban'))
                await becomes('alice', 'leave', { reason: `${txn}` });
            } else if (one === 'ban') await becomes('alice', 'ban', { reason: `${txn}` });
            else if (one === 'forget') {
              if ((await server.ask('bob', 'POST', `/rooms/${roomId}/forget`, {})).status === 200) forgotten = true;
            } else if (one === 'restart') {
              if (restarts++ < 15) await search.restart();
            } else
              tell(await server.setState('alice', roomId, 'm.room.history_visibility', { history_visibility: one }), {
                visibilityAfter: one,
              });
          }
          const everJoined = told.some((one) => one.membershipAfter === 'join');
          const expected = told.filter((_, at) => maySee(told, at)).map((one) => one.eventId);
          for (const [at, { eventId, membership: before, membershipAfter }] of told.entries()) {
            const { status, body } = await server.ask(
              'bob',
              'GET',
              `/rooms/${roomId}/event/${encodeURIComponent(eventId)}`,
            );
            const sees = expected.includes(eventId) && !(forgotten && visibility !== 'world_readable');
            expect(status, `event ${at} of ${told.length}`).to.equal(sees ? 200 : 404);
            if (sees) expect(body.unsigned.membership, `event ${at}`).to.equal(membershipAfter ?? before);
          }
          const inRoom = membership === 'join';
          const until = inRoom || forgotten || !everJoined ? Infinity : left;
          const readable = inRoom || (everJoined && !forgotten) || visibility === 'world_readable';
          const listed = readable
            ? told
                .slice(0, until === Infinity ? undefined : until)
                .map((one) => one.eventId)
                .filter((id) => expected.includes(id))
            : undefined;
          const ofMember = everJoined && !forgotten ? (listed ?? []) : [];
          const said = (await everything(roomId)).filter(({ type }) => type === 'm.room.message');
          const found = await search.find('bob', 'needle', { filter: { rooms: [roomId], limit: 99 } });
          expect(found.results.map(({ result }: Json) => result.event_id).toSorted(), 'found').to.deep.equal(
            said
              .map((event) => event.event_id)
              .filter((id) => ofMember.includes(id))
              .toSorted(),
          );
          for (const dir of ['b', 'f'] as const) {
            const seen = (await pages(roomId, dir, limit))?.map((event) => event.event_id);
            if (dir === 'b') seen?.reverse();
            expect(seen, dir).to.deep.equal(listed);
          }
        },
      ),
      { numRuns: 40 },
    );
  });
});
