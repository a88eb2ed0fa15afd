import { expect } from 'chai';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/partner-room.ts';
import { signsWith } from '#test/support/remote-room.ts';

const PAT = '@pat:p.test';
const SAM = '@sam:q.test';

describe('a redaction that comes before what it redacts', function () {
  this.timeout(60_000);
  let federation: Federation;
  let server: InProcessServer;
  let p: RemotePartner;
  let rooms = 0;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test', 'q.test'] });
    server = federation.server('a.test');
    p = federation.partner('p.test');
    const q = federation.partner('q.test');
    signsWith(q.serverName, q.signingKey);
  });
  after(() => federation?.stop());

  const scene = async (version: string): Promise<{ readonly roomId: string; readonly room: PartnerRoom }> => {
    const wish = { preset: 'public_chat', room_version: version, creation_content: { n: (rooms += 1) } };
    const roomId = await server.room('alice', wish);
    return { roomId, room: await PartnerRoom.join(server, p, roomId, [PAT, SAM]) };
  };
  const event = (roomId: string, id: string): Promise<Json> =>
    server.must('alice', 'GET', `/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(id)}`);
  const redaction = (target: string, version: string): { type: string; content: object; redacts?: string } =>
    version === '10'
      ? { type: 'm.room.redaction', content: {}, redacts: target }
      : { type: 'm.room.redaction', content: { redacts: target } };

  for (const version of ['10', '12'])
    it(`is applied when that comes, and stays applied after a restart (room version ${version})`, async () => {
      const { room, roomId } = await scene(version);
      const prev = [...room.extremities];
      const said = room.say(PAT, 'a secret', { prev });
      const beside = room.build({ ...redaction(said.eventId, version), sender: PAT, prev } as never);
      const { next_batch: since } = await server.must('alice', 'GET', '/sync');
      await room.send([beside]);
      await room.send([said]);
      const shown = (await server.must('alice', 'GET', `/sync?since=${since}`)).rooms.join[roomId].timeline.events;
      expect(JSON.stringify(shown)).not.to.include('a secret');
      expect((await event(roomId, said.eventId)).content).to.deep.equal({});
      await server.idle();
      await server.restart();
      const after = await event(roomId, said.eventId);
      expect(after.content).to.deep.equal({});
      expect(after.unsigned.redacted_because.event_id).to.equal(beside.eventId);
    });

  it('does nothing to what its sender may not redact', async () => {
    const { room, roomId } = await scene('12');
    const prev = [...room.extremities];
    const said = room.say(PAT, 'still here', { prev });
    const beside = room.build({ ...redaction(said.eventId, '12'), sender: SAM, prev } as never);
    await room.send([beside]);
    await room.send([said]);
    await server.idle();
    expect((await event(roomId, said.eventId)).content.body).to.equal('still here');
  });

  it('and that redacts it in turn leaves a room that can be read', async () => {
    const { room, roomId } = await scene('1');
    for (const [eventId, redacts] of [
      ['$one:p.test', '$other:p.test'],
      ['$other:p.test', '$one:p.test'],
    ] as const)
      await room.send([room.build({ type: 'm.room.redaction', content: {}, sender: PAT, redacts, eventId })]);
    await server.idle();
    for (const restart of [false, true]) {
      if (restart) await server.restart();
      const { timeline } = (await server.must('alice', 'GET', '/sync')).rooms.join[roomId];
      expect(timeline.events.map((shown: Json) => shown.event_id)).to.include.members(['$one:p.test', '$other:p.test']);
    }
  });
});
