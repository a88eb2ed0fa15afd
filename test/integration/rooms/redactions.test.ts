import { expect } from 'chai';
import { ROOM_VERSIONS } from '#src/protocol/room-versions/room-versions.ts';
import { until } from '#test/support/until.ts';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

const BOB = '@bob:test';

describe('redactions, asked for over HTTP', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  let txn = 0;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const eventPath = (roomId: string, eventId: string): string =>
    `/rooms/${roomId}/event/${encodeURIComponent(eventId)}`;
  const event = (token: string, roomId: string, eventId: string): Promise<Json> =>
    server.must(token, 'GET', eventPath(roomId, eventId));
  const redact = (token: string, roomId: string, eventId: string, body: object = {}, id = `x${(txn += 1)}`) =>
    server.ask(token, 'PUT', `/rooms/${roomId}/redact/${encodeURIComponent(eventId)}/${id}`, body);
  const done = async (answer: ReturnType<typeof redact>): Promise<string> => {
    const { status, body } = await answer;
    expect(status, JSON.stringify(body)).to.equal(200);
    return body.event_id;
  };
  const open = async (version = '12'): Promise<string> => {
    const roomId = await server.room('alice', { preset: 'public_chat', room_version: version });
    await server.join('bob', roomId);
    return roomId;
  };

  for (const version of ROOM_VERSIONS.keys()) {
    it(`empty a message in version ${version}, by either endpoint, and name it at both places`, async () => {
      const roomId = await open(version);
      for (const endpoint of ['redact', 'send']) {
        const said = await server.say('bob', roomId, 'secret');
        const id =
          endpoint === 'redact'
            ? await done(redact('bob', roomId, said, { reason: 'why', redacts: '$other', 'x.y': 1 }))
            : (
                await server.must('bob', 'PUT', `/rooms/${roomId}/send/m.room.redaction/s${(txn += 1)}`, {
                  redacts: said,
                  reason: 'why',
                  'x.y': 1,
                })
              ).event_id;
        for (const restart of [false, true]) {
          if (restart && endpoint === 'send') await server.restart();
          const redacted = await event('alice', roomId, said);
          expect(redacted.content).to.deep.equal({});
          const because = redacted.unsigned.redacted_because;
          expect(because).to.deep.include({ event_id: id, sender: BOB, type: 'm.room.redaction', redacts: said });
          expect(because.content).to.deep.equal({ reason: 'why', redacts: said, 'x.y': 1 });
          const itself = await event('alice', roomId, id);
          expect([itself.redacts, itself.content.redacts]).to.deep.equal([said, said]);
        }
      }
    });

    it(`leave what version ${version} keeps of state, and the state in force`, async () => {
      const roomId = await open(version);
      const v = Number(version);
      const levels = await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.power_levels`);
      const cases: [string, object, object][] = [
        ['m.room.name', { name: 'secret' }, {}],
        [
          'm.room.join_rules',
          { join_rule: 'public', allow: [], x: 1 },
          { join_rule: 'public', ...(v >= 8 ? { allow: [] } : {}) },
        ],
        ['m.room.history_visibility', { history_visibility: 'joined', x: 1 }, { history_visibility: 'joined' }],
        ['m.room.power_levels', { ...levels, invite: 3, notifications: { room: 20 } }, { invite: 3 }],
        ['m.room.canonical_alias', { x: 1 }, {}],
      ];
      for (const [type, content, kept] of cases) {
        const id = await server.setState('alice', roomId, type, content);
        await done(redact('alice', roomId, id));
        const state = await server.must('alice', 'GET', `/rooms/${roomId}/state/${type}`);
        if (type !== 'm.room.power_levels') expect(state, type).to.deep.equal(kept);
        else {
          expect(state).not.to.have.property('notifications');
          expect(state.invite).to.equal(v >= 11 ? 3 : undefined);
          expect(state.events).to.deep.equal(levels.events);
        }
      }
      await server.setState('bob', roomId, 'm.room.member', { membership: 'join', displayname: 'secret' }, BOB);
      const whole = await server.must('bob', 'GET', `/rooms/${roomId}/state/m.room.member/${BOB}?format=event`);
      await done(redact('bob', roomId, whole.event_id));
      expect((await server.must('alice', 'GET', `/rooms/${roomId}/joined_members`)).joined[BOB]).to.deep.equal({
        display_name: null,
        avatar_url: null,
      });
      await server.say('bob', roomId, 'still here');
      const create = await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.create?format=event`);
      if (v >= 11) await done(redact('alice', roomId, create.event_id));
      const after = await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.create`);
      expect(after).to.deep.equal(create.content);
      await server.restart();
      await server.say('bob', roomId, 'and still');
      await server.say('alice', roomId, 'and so');
    });
  }

  describe('that would destroy the room are refused, whichever way they are asked for', () => {
    const refusedEverywhere = async (roomId: string, id: string): Promise<void> => {
      const delayed = `/unstable/org.matrix.msc4140/rooms/${roomId}/delayed_event/m.room.redaction/d${(txn += 1)}`;
      const ways = [
        await redact('alice', roomId, id, { reason: 'why' }),
        await server.ask('alice', 'POST', `/rooms/${roomId}/redact/${encodeURIComponent(id)}`, {}),
        await server.ask('alice', 'PUT', `/rooms/${roomId}/send/m.room.redaction/s${(txn += 1)}`, { redacts: id }),
      ];
      for (const { status, body } of ways) expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
      const { delay_id: delayId } = await server.must('alice', 'PUT', delayed, {
        delay_ms: 1_000,
        content: { redacts: id },
      });
      await server.clock.advance(1_000);
      const path = `/unstable/org.matrix.msc4140/delayed_events/${delayId}`;
      await until('it is over', async () => {
        // The schedule pauses between two looks.
        await server.clock.advance(50);
        return (await server.must('alice', 'GET', path)).finalised_ts !== undefined;
      });
      expect((await server.must('alice', 'GET', path)).error.errcode).to.equal('M_FORBIDDEN');
      expect((await event('alice', roomId, id)).unsigned).not.to.have.property('redacted_because');
    };

    for (const version of ['1', '6', '10']) {
      it(`its m.room.create in version ${version}, so that it stays what it is, and its successor is the same`, async () => {
        const creation = { type: 'org.example.club', 'm.federate': false, more: 1 };
        const roomId = await server.room('alice', { room_version: version, creation_content: creation });
        const create = await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.create?format=event`);
        await refusedEverywhere(roomId, create.event_id);
        expect(await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.create`)).to.deep.include(creation);
      });
    }

    it('its m.room.server_acl, which then would let no server in, and its m.room.encryption', async () => {
      for (const version of ['10', '12']) {
        const roomId = await open(version);
        const acl = await server.setState('alice', roomId, 'm.room.server_acl', { allow: ['*'] });
        await refusedEverywhere(roomId, acl);
        const algorithm = 'm.megolm.v1.aes-sha2';
        await refusedEverywhere(roomId, await server.setState('alice', roomId, 'm.room.encryption', { algorithm }));
        // What has the name alone is no state.
        const path = `/rooms/${roomId}/send/m.room.encryption/s${(txn += 1)}`;
        await done(redact('alice', roomId, (await server.must('alice', 'PUT', path, {})).event_id));
      }
    });

    it('a join by the word of somebody in version 8, where nothing would be left of that', async () => {
      const club = await server.room('alice', { preset: 'public_chat' });
      await server.join('bob', club);
      for (const version of ['8', '9']) {
        const allow = [{ type: 'm.room_membership', room_id: club }];
        const state = { type: 'm.room.join_rules', content: { join_rule: 'restricted', allow } };
        const roomId = await server.room('alice', { room_version: version, initial_state: [state] });
        await server.join('bob', roomId);
        const path = `/rooms/${roomId}/state/m.room.member/${BOB}?format=event`;
        const { event_id: id } = await server.must('alice', 'GET', path);
        if (version === '8') await refusedEverywhere(roomId, id);
        else await done(redact('alice', roomId, id));
      }
    });

    it('but a transaction that was answered before is answered so again', async () => {
      const roomId = await open();
      const said = await server.say('bob', roomId, 'his');
      await server.setState('alice', roomId, 'm.room.power_levels', { redact: 0, users: {} });
      const path = `/rooms/${roomId}/redact/${encodeURIComponent(said)}/mine`;
      const first = await server.must('bob', 'PUT', path, {});
      await server.setState('alice', roomId, 'm.room.power_levels', { redact: 50, users: {} });
      expect(await server.must('bob', 'PUT', path, {})).to.deep.equal(first);
    });
  });

  it('are for everybody of what they said themselves, and of others for those with the power to', async () => {
    const roomId = await open();
    const [hers, his] = [await server.say('alice', roomId, 'hers'), await server.say('bob', roomId, 'his')];
    const refused = await redact('bob', roomId, hers);
    expect([refused.status, refused.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    const sent = await server.ask('bob', 'PUT', `/rooms/${roomId}/send/m.room.redaction/s${(txn += 1)}`, {
      redacts: hers,
    });
    expect([sent.status, sent.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    expect((await redact('stranger', roomId, his)).status).to.equal(403);
    await server.must('alice', 'POST', `/rooms/${roomId}/kick`, { user_id: BOB });
    expect((await redact('bob', roomId, his)).status).to.equal(403);
    await done(redact('alice', roomId, his));
    expect((await event('alice', roomId, his)).content).to.deep.equal({});
    expect((await event('alice', roomId, hers)).content.body).to.equal('hers');
  });

  it('name what they redact, and are never state', async () => {
    const roomId = await open();
    const said = await server.say('alice', roomId, 'stays');
    for (const redacts of [undefined, 1, [said]]) {
      const path = `/rooms/${roomId}/send/m.room.redaction/s${(txn += 1)}`;
      const { status, body } = await server.ask('alice', 'PUT', path, { redacts });
      expect([status, body.errcode]).to.deep.equal([400, 'M_BAD_JSON']);
    }
    const state = await server.ask('alice', 'PUT', `/rooms/${roomId}/state/m.room.redaction/`, { redacts: said });
    expect([state.status, state.body.errcode]).to.deep.equal([400, 'M_BAD_JSON']);
    expect((await event('bob', roomId, said)).content.body).to.equal('stays');
  });

  it('of ids that nobody knows, and of events of other rooms, are sent and change nothing', async () => {
    const [here, there] = [await open(), await open()];
    const said = await server.say('alice', there, 'stays');
    for (const target of [said, `$${'a'.repeat(43)}`, '$old:elsewhere.org']) {
      const id = await done(redact('alice', here, target));
      expect((await event('bob', here, id)).redacts).to.equal(target);
    }
    expect((await event('alice', there, said)).content.body).to.equal('stays');
  });

  it('happen once: the first one stays the reason, and transactions repeat their answer', async () => {
    const roomId = await open();
    const said = await server.say('alice', roomId, 'twice');
    const first = await done(redact('alice', roomId, said, {}, 'same'));
    expect(await done(redact('alice', roomId, said, { reason: 'else' }, 'same'))).to.equal(first);
    await done(redact('alice', roomId, said, { reason: 'again' }));
    expect((await event('bob', roomId, said)).unsigned.redacted_because.event_id).to.equal(first);
    expect((await event('alice', roomId, first)).unsigned.transaction_id).to.equal('same');
    expect((await event('alice/PHONE', roomId, first)).unsigned).not.to.have.property('transaction_id');
    expect((await event('bob', roomId, first)).unsigned).not.to.have.property('transaction_id');
  });

  it('are seen wherever the redacted event shows: as prev_content, too', async () => {
    const roomId = await open();
    const rename = (displayname: string): Promise<string> =>
      server.setState('bob', roomId, 'm.room.member', { membership: 'join', displayname }, BOB);
    const secret = await rename('secret');
    const later = await rename('harmless');
    const topic = await server.setState('alice', roomId, 'm.room.topic', { topic: 'secret' });
    await server.setState('alice', roomId, 'm.room.topic', { topic: 'harmless' });
    await server.restart();
    const shown = async (): Promise<string> =>
      JSON.stringify([
        await server.must('alice', 'GET', `/rooms/${roomId}/state`),
        await server.must('alice', 'GET', `/rooms/${roomId}/members`),
        await event('alice', roomId, later),
        await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=50`),
      ]);
    // What replaced them is in memory, and they themselves only along with it.
    await server.must('alice', 'GET', `/rooms/${roomId}/members`);
    await server.must('alice', 'GET', `/rooms/${roomId}/state`);
    for (const id of [secret, topic]) await done(redact('alice', roomId, id));
    expect(await shown()).not.to.contain('secret');
    await server.restart();
    expect(await shown()).not.to.contain('secret');
  });

  it('tell of what redacted an event alone, however long the chain of redactions of redactions is', async () => {
    const roomId = await open('10');
    const said = await server.say('bob', roomId, 'secret');
    const chain = [said];
    for (let link = 0; link < 20; link++) chain.push(await done(redact('alice', roomId, chain.at(-1) ?? '')));
    for (const restart of [false, true]) {
      if (restart) await server.restart();
      for (const [at, id] of chain.slice(0, -1).entries()) {
        const { unsigned } = await event('bob', roomId, id);
        expect(unsigned.redacted_by).to.equal(chain[at + 1]);
        expect(unsigned.redacted_because.event_id).to.equal(chain[at + 1]);
        expect(unsigned.redacted_because.unsigned).to.have.all.keys('age');
      }
    }
  });

  it('at once with an edit and a reaction leave one redacted event and no aggregation', async () => {
    const roomId = await open();
    for (let round = 0; round < 10; round++) {
      const said = await server.say('bob', roomId, 'secret');
      const relates = { rel_type: 'm.replace', event_id: said };
      const edit = server.ask('bob', 'PUT', `/rooms/${roomId}/send/m.room.message/e${(txn += 1)}`, {
        msgtype: 'm.text',
        body: 'x',
        'm.new_content': { msgtype: 'm.text', body: 'x' },
        'm.relates_to': relates,
      });
      const both = [redact('bob', roomId, said), redact('alice', roomId, said)];
      const ids = await Promise.all(both.map(done));
      expect((await edit).status).to.equal(200);
      const redacted = await event('alice', roomId, said);
      expect(redacted.content).to.deep.equal({});
      expect(redacted.unsigned).not.to.have.property('m.relations');
      expect(ids).to.include(redacted.unsigned.redacted_because.event_id);
      const { redacted_because: because } = redacted.unsigned;
      if (round === 9) await server.restart();
      expect((await event('alice', roomId, said)).unsigned.redacted_because.event_id).to.equal(because.event_id);
    }
  });
});
