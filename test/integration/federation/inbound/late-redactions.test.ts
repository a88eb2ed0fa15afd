import { expect } from 'chai';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import { signsWith } from '#test/support/federation/remote-room.ts';

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
    Number(version) < 11
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

  for (const version of ['10', '12'])
    it(`is applied when that comes, also one of this server, and after a restart (room version ${version})`, async () => {
      const { room, roomId } = await scene(version);
      const prev = [...room.extremities];
      const texts = ['a first secret', 'another secret'];
      const [first, second] = texts.map((text) => room.say(PAT, text, { prev }));
      const redact = (target: string): Promise<Json> =>
        server.must('alice', 'PUT', `/rooms/${roomId}/redact/${target}/late-${(rooms += 1)}`, {});
      const redactions = [await redact(first!.eventId), await redact(second!.eventId)];
      const { next_batch: since } = await server.must('alice', 'GET', '/sync');
      await room.send([first!]);
      await server.idle();
      await server.restart();
      await room.send([second!]);
      const shown = await server.must('alice', 'GET', `/sync?since=${since}`);
      for (const text of texts) expect(JSON.stringify(shown)).not.to.include(text);
      for (const [index, { eventId }] of [first!, second!].entries()) {
        const { content, unsigned } = await event(roomId, eventId);
        expect(content).to.deep.equal({});
        expect(unsigned.redacted_because.event_id).to.equal(redactions[index]!.event_id);
      }
    });

  /** Ids of what the room shows since a position. */
  const shownSince = async (roomId: string, since: string): Promise<{ ids: string[]; next: string }> => {
    const { next_batch: next, rooms: news } = await server.must('alice', 'GET', `/sync?since=${since}`);
    const ids = (news?.join?.[roomId]?.timeline.events ?? []).map((one: Json) => one.event_id);
    return { ids, next };
  };
  const readBack = async (roomId: string): Promise<string[]> =>
    (await server.must('alice', 'GET', `/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=50`)).chunk.map(
      (one: Json) => one.event_id,
    );

  for (const version of ['3', '10', '12'])
    it(`is not shown to anybody before that comes, and is afterwards, over a restart too (room version ${version})`, async () => {
      const { room, roomId } = await scene(version);
      const prev = [...room.extremities];
      const said = room.say(PAT, 'a secret', { prev });
      const beside = room.build({ ...redaction(said.eventId, version), sender: PAT, prev } as never);
      const twice = room.build({ ...redaction(said.eventId, version), sender: PAT, prev, depth: 99 } as never);
      const { next_batch: since } = await server.must('alice', 'GET', '/sync');
      await room.send([beside, twice]);
      expect(await readBack(roomId)).not.to.include(beside.eventId);
      const before = await shownSince(roomId, since);
      expect(before.ids).to.deep.equal([]);
      await server.restart();
      await room.send([said]);
      await server.idle();
      for (const restart of [false, true]) {
        if (restart) await server.restart();
        expect(await readBack(roomId)).to.include.members([said.eventId, beside.eventId, twice.eventId]);
        expect((await event(roomId, said.eventId)).content).to.deep.equal({});
      }
    });

  for (const version of ['10', '12'])
    it(`does nothing to what its sender may not redact, is shown to nobody, and keeps no other one from it (room version ${version})`, async () => {
      const { room, roomId } = await scene(version);
      const prev = [...room.extremities];
      const said = room.say(PAT, 'still here', { prev });
      const kept = room.say(PAT, 'here as well', { prev });
      const forged = [said, kept].map(({ eventId }) =>
        room.build({ ...redaction(eventId, version), sender: SAM, prev } as never),
      );
      const real = room.build({ ...redaction(kept.eventId, version), sender: PAT, prev } as never);
      const { next_batch: since } = await server.must('alice', 'GET', '/sync');
      await room.send([...forged, real]);
      await room.send([said, kept]);
      await server.idle();
      // The same where the event is here already.
      const late = room.build({ ...redaction(said.eventId, version), sender: SAM } as never);
      await room.send([late]);
      const hidden = [...forged, late].map(({ eventId }) => eventId);
      for (const restart of [false, true]) {
        if (restart) await server.restart();
        expect((await event(roomId, said.eventId)).content.body).to.equal('still here');
        expect((await event(roomId, kept.eventId)).content).to.deep.equal({});
        const shown = await readBack(roomId);
        for (const id of hidden) expect(shown).not.to.include(id);
      }
      const { ids } = await shownSince(roomId, since);
      expect(ids).to.include.members([said.eventId, kept.eventId]);
      for (const id of hidden) expect(ids).not.to.include(id);
      // The room goes on, before and after them.
      const next = room.say(PAT, 'and on', { prev: hidden });
      await room.send([next]);
      expect(await readBack(roomId)).to.include(next.eventId);
    });

  it('of another room, or that names none, is shown to nobody', async () => {
    const here = await scene('11');
    const there = await scene('11');
    const said = there.room.say(PAT, 'said elsewhere');
    await there.room.send([said]);
    const { next_batch: since } = await server.must('alice', 'GET', '/sync');
    const over = [
      redaction(said.eventId, '11'),
      { type: 'm.room.redaction', content: {} },
      { type: 'm.room.redaction', content: { redacts: 7 } },
      // Where older room versions have it.
      { type: 'm.room.redaction', content: {}, redacts: said.eventId },
    ].map((draft) => here.room.build({ ...draft, sender: PAT } as never));
    await here.room.send(over);
    const after = here.room.say(PAT, 'afterwards');
    await here.room.send([after]);
    const { ids } = await shownSince(here.roomId, since);
    expect(ids).to.deep.equal([after.eventId]);
    expect((await event(there.roomId, said.eventId)).content.body).to.equal('said elsewhere');
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
