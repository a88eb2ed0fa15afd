import { expect } from 'chai';
import type { Answer } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';
import type { Administered } from './support/admin-questions.ts';
import { QUESTIONS } from './support/admin-questions.ts';
import type { Partner, Rig } from './support/rig.ts';
import { differencesOf, type Shape, shapeOf } from './support/shapes.ts';

/** Makes the same on a server: an administrator, users, a room, something said, and reports of it. */
const prepare = async (server: Partner): Promise<Administered> => {
  const [admin, alice, bob] = [await server.admin('admin'), await server.user('alice'), await server.user('bob')];
  const roomId = await alice.room('11');
  await bob.join(roomId);
  const eventId = await alice.say(roomId, 'reported');
  for (const reason of ['one', 'two'])
    await bob.must('POST', `/rooms/${encodeURIComponent(roomId)}/report/${encodeURIComponent(eventId)}`, { reason });
  await bob.must('POST', `/users/${encodeURIComponent(alice.userId)}/report`, { reason: 'rude' });
  const events = await admin.must('GET', '/_synapse/admin/v1/event_reports?limit=1');
  const users = await admin.must('GET', '/_synapse/admin/v1/user_reports?limit=1');
  const reports = { eventReport: events.event_reports[0].id, userReport: users.user_reports[0].id };
  const carol = await server.user('carol');
  const doomed = await carol.room('11');
  const { content_uri: uri } = await alice.must('POST', '/_matrix/media/v3/upload', { text: 'a file' });
  const file = String(uri).replace('mxc://', '');
  await alice.must('PUT', `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/file`, {
    msgtype: 'm.file',
    body: 'file',
    url: uri,
  });
  return { admin, alice, bob, carol, roomId, doomed, eventId, file, answers: {}, ...reports };
};

/** An answer in which both servers call rooms and users the same. */
const withoutNames = (body: unknown, { alice, bob, carol, doomed, roomId }: Administered): unknown => {
  let text = JSON.stringify(body ?? null);
  for (const [name, value] of Object.entries({
    alice: alice.userId,
    bob: bob.userId,
    carol: carol.userId,
    doomed,
    roomId,
  }))
    text = text.replaceAll(value, name);
  return JSON.parse(text);
};

export function administration(rig: () => Rig): void {
  describe('an administrator', function () {
    this.timeout(120_000);
    let ours: Administered;
    let theirs: Administered;
    before(async () => {
      [ours, theirs] = await Promise.all([prepare(rig().ours), prepare(rig().theirs)]);
    });

    for (const [what, { body, differs = {}, method = 'GET', path, until: isOver }] of Object.entries(QUESTIONS))
      it(`is told the same things of both servers: ${what}`, async () => {
        const asked = (of: Administered): Promise<Answer> =>
          of.admin.ask(method, `/_synapse/admin${path(of)}`, body?.(of));
        const [here, there] = await Promise.all(
          [ours, theirs].map((of) =>
            isOver === undefined
              ? asked(of)
              : until(what, async () => {
                  const answer = await asked(of);
                  return isOver(answer.body) ? answer : undefined;
                }),
          ),
        );
        [ours.answers[what], theirs.answers[what]] = [here?.body, there?.body];
        expect(here?.status, `${JSON.stringify(here?.body)} ${JSON.stringify(there?.body)}`).to.equal(there?.status);
        const found = differencesOf(
          ...((
            [
              [here, ours],
              [there, theirs],
            ] as const
          ).map(([answer, of]) => shapeOf(withoutNames(answer?.body, of))) as [Shape, Shape]),
        );
        const isOnPurpose = (one: string): boolean =>
          Object.keys(differs).some((place) => one.startsWith(`${place} `) || one.startsWith(`${place}.`));
        const unexpected = found.filter((one) => !isOnPurpose(one));
        expect(unexpected, JSON.stringify([here?.body, there?.body])).to.deep.equal([]);
        if ((there?.status ?? 0) >= 400) expect(here?.body.errcode).to.equal(there?.body.errcode);
      });
  });
}
