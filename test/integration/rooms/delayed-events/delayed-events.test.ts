import { expect } from 'chai';
import { type Answer, type Json, InProcessServer } from '#test/support/in-process-server.ts';

const UNSTABLE = '/unstable/org.matrix.msc4140';
const HOUR = 3_600_000;

describe('delayed events', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let room: string;
  let count = 0;

  beforeEach(async () => {
    server = await InProcessServer.start({ config: { delayedEvents: { maxDelayMs: 24 * HOUR } } });
    room = await server.room('alice', { preset: 'public_chat' });
  });
  afterEach(() => server.stop());

  const text = (body: string): object => ({ msgtype: 'm.text', body });
  /** Schedules by the proposal's endpoint. */
  const schedule = (token: string, body: object, more: { type?: string; txn?: string; query?: string } = {}) => {
    const { type = 'm.room.message', txn = `d${(count += 1)}`, query = '' } = more;
    return server.ask(token, 'PUT', `${UNSTABLE}/rooms/${room}/delayed_event/${type}/${txn}${query}`, body);
  };
  const scheduled = async (token: string, delayMs: number, content: object = text('later'), more: object = {}) => {
    const answer = await schedule(token, { delay_ms: delayMs, content, ...more });
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    return answer.body.delay_id as string;
  };
  const manage = (token: string | undefined, id: string, action: string): Promise<Answer> =>
    server.ask(token, 'POST', `${UNSTABLE}/delayed_events/${id}/${action}`);
  const one = async (token: string, id: string): Promise<Json> =>
    server.must(token, 'GET', `${UNSTABLE}/delayed_events/${id}`);
  const list = (token: string, query = ''): Promise<Json> =>
    server.must(token, 'GET', `${UNSTABLE}/delayed_events${query}`);
  const history = async (token = 'alice'): Promise<Json[]> =>
    (await server.must(token, 'GET', `/rooms/${room}/messages?dir=b&limit=50`)).chunk;
  const bodies = async (): Promise<string[]> =>
    (await history())
      .filter((event) => event.type === 'm.room.message')
      .map((event) => event.content.body)
      .reverse();
  /** Everything that is due is sent, and this is over. */
  const finalised = async (token: string, id: string): Promise<void> => {
    await server.idle();
    expect((await one(token, id)).finalised_ts).to.be.a('number');
  };
  const setAccount = ({ services }: InProcessServer, name: string, changes: object): Promise<void> =>
    services.database.write((tx) => services.users.change(tx, `@${name}:test`, changes));

  it('sends a message when its time has come, and not before', async () => {
    const id = await scheduled('alice', 5_000);
    await server.clock.advance(4_999);
    await server.idle();
    expect(await bodies()).to.deep.equal([]);
    await server.clock.advance(1);
    await finalised('alice', id);
    expect(await bodies()).to.deep.equal(['later']);
    const event = (await history())[0];
    const seen = await one('alice', id);
    expect(seen.event_id).to.equal(event.event_id);
    expect(seen.finalised_ts).to.equal(seen.scheduled_at + 5_000);
    expect(seen).to.include({ delay_id: id, room_id: room, type: 'm.room.message', delay_ms: 5_000 });
    expect(seen.content).to.deep.equal(text('later'));
    expect(seen).to.not.have.any.keys('state_key', 'error');
  });

  it('sends state events', async () => {
    const id = await scheduled('alice', 1_000, { name: 'later' }, { state_key: '' });
    expect((await one('alice', id)).state_key).to.equal('');
    const other = await schedule(
      'alice',
      { delay_ms: 1_000, content: { name: 'x' }, state_key: '' },
      { type: 'm.room.name' },
    );
    await server.clock.advance(1_000);
    await finalised('alice', other.body.delay_id);
    expect((await server.must('alice', 'GET', `/rooms/${room}/state/m.room.name`)).name).to.equal('x');
  });

  it('is done with a state event that says what the room says already', async () => {
    const set = await server.setState('alice', room, 'm.room.topic', { topic: 'the same' });
    const body = { delay_ms: 1_000, content: { topic: 'the same' }, state_key: '' };
    const id = (await schedule('alice', body, { type: 'm.room.topic' })).body.delay_id;
    await server.clock.advance(1_000);
    await finalised('alice', id);
    expect((await one('alice', id)).event_id).to.equal(set);
  });

  it('sends those of a room in the order of their times', async () => {
    const ids: string[] = [];
    for (const [delay, body] of [
      [3_000, 'c'],
      [1_000, 'a'],
      [2_000, 'b'],
    ] as const)
      ids.push(await scheduled('alice', delay, text(body)));
    await server.clock.advance(10_000);
    for (const id of ids) await finalised('alice', id);
    expect(await bodies()).to.deep.equal(['a', 'b', 'c']);
  });

  it('answers the same id for the same transaction, also after a restart, and to no other device', async () => {
    const body = { delay_ms: HOUR, content: text('once') };
    const both = await Promise.all([
      schedule('alice', body, { txn: 'same' }),
      schedule('alice', body, { txn: 'same' }),
    ]);
    const id = both[0].body.delay_id;
    expect(both[1].body.delay_id).to.equal(id);
    await server.restart();
    expect((await schedule('alice', body, { txn: 'same' })).body.delay_id).to.equal(id);
    expect((await schedule('alice/PHONE', body, { txn: 'same' })).body.delay_id).to.not.equal(id);
    expect((await list('alice')).delayed_events).to.have.length(2);
  });

  it('gives out ids that nobody guesses', async () => {
    const ids = [await scheduled('alice', HOUR), await scheduled('alice', HOUR)];
    expect(ids[0]).to.match(/^[A-Za-z0-9]{32}$/);
    expect(ids[1]).to.not.equal(ids[0]);
  });

  it('sends at start what became due while the server was down, in the order of the times', async () => {
    const late = await scheduled('alice', 30_000, text('second'));
    await scheduled('alice', 20_000, text('first'));
    await server.restart();
    await finalised('alice', late);
    expect(await bodies()).to.deep.equal(['first', 'second']);
    await server.restart();
    await server.idle();
    expect(await bodies()).to.deep.equal(['first', 'second']);
  });

  describe('managing', () => {
    it('restarts: the time begins anew', async () => {
      const id = await scheduled('alice', 5_000);
      const before = await one('alice', id);
      for (let beat = 0; beat < 4; beat++) {
        await server.clock.advance(4_000);
        expect((await manage('alice', id, 'restart')).status).to.equal(200);
      }
      expect(await bodies()).to.deep.equal([]);
      expect((await one('alice', id)).scheduled_at).to.equal(before.scheduled_at + 16_000);
      await server.clock.advance(5_000);
      await finalised('alice', id);
      expect(await bodies()).to.deep.equal(['later']);
    });

    it('restarts many with few statements', async () => {
      const ids = await Promise.all(Array.from({ length: 60 }, () => scheduled('alice', HOUR)));
      const { delayedEvents } = server.services;
      const statements = await server.statements(() =>
        Promise.all(ids.map((id) => delayedEvents.manage('restart', id, undefined))),
      );
      expect(statements).to.be.at.most(2);
    });

    it('cancels: it is never sent', async () => {
      const id = await scheduled('alice', 5_000);
      expect((await manage('alice', id, 'cancel')).body).to.deep.equal({});
      await server.clock.advance(10_000);
      await server.idle();
      expect(await bodies()).to.deep.equal([]);
      const seen = await one('alice', id);
      expect(seen.finalised_ts).to.be.a('number');
      expect(seen).to.not.have.any.keys('event_id', 'error');
    });

    it('sends at once, and says so', async () => {
      const id = await scheduled('alice', HOUR);
      expect((await manage('alice', id, 'send')).body).to.deep.equal({});
      expect(await bodies()).to.deep.equal(['later']);
      const seen = await one('alice', id);
      expect(seen.finalised_ts).to.be.lessThan(seen.scheduled_at + seen.delay_ms);
    });

    it('takes a repeated action for done, and refuses what conflicts with the outcome with 409', async () => {
      const sent = await scheduled('alice', HOUR);
      const cancelled = await scheduled('alice', HOUR);
      await manage('alice', sent, 'send');
      await manage('alice', cancelled, 'cancel');
      const answers = async (id: string): Promise<(number | string)[]> => {
        const all = [
          await manage('alice', id, 'send'),
          await manage('alice', id, 'cancel'),
          await manage('alice', id, 'restart'),
        ];
        return all.map(({ status, body }) => (status === 200 ? status : `${status} ${body.errcode}`));
      };
      expect(await answers(sent)).to.deep.equal([200, '409 M_UNKNOWN', '409 M_UNKNOWN']);
      expect(await answers(cancelled)).to.deep.equal(['409 M_UNKNOWN', 200, '409 M_UNKNOWN']);
      expect(await bodies()).to.deep.equal(['later']);
    });

    it('needs no access token, but somebody else’s is of no use', async () => {
      const id = await scheduled('alice', HOUR);
      expect((await manage('bob', id, 'cancel')).body.errcode).to.equal('M_NOT_FOUND');
      expect((await manage('bob', id, 'restart')).status).to.equal(404);
      expect((await manage('bob', id, 'send')).status).to.equal(404);
      expect((await manage(undefined, id, 'restart')).status).to.equal(200);
      expect((await manage(undefined, id, 'send')).status).to.equal(200);
      expect(await bodies()).to.deep.equal(['later']);
    });

    it('answers 404 for an id that there is not, and for an action that there is not', async () => {
      for (const action of ['send', 'cancel', 'restart']) {
        expect((await manage('alice', 'x'.repeat(32), action)).body.errcode).to.equal('M_NOT_FOUND');
        expect((await manage('alice', 'no%20such%20id', action)).body.errcode).to.equal('M_NOT_FOUND');
      }
      expect((await manage('alice', 'x'.repeat(32), 'postpone')).body.errcode).to.equal('M_UNRECOGNIZED');
    });

    it('takes the action in the body, as clients of earlier texts send it', async () => {
      const id = await scheduled('alice', HOUR);
      const post = (body: object): Promise<Answer> =>
        server.ask(undefined, 'POST', `${UNSTABLE}/delayed_events/${id}`, body);
      expect((await post({})).body.errcode).to.equal('M_MISSING_PARAM');
      expect((await post({ action: 'postpone' })).body.errcode).to.equal('M_INVALID_PARAM');
      expect((await post({ action: 'restart' })).body).to.deep.equal({});
      expect((await post({ action: 'send' })).body).to.deep.equal({});
      expect(await bodies()).to.deep.equal(['later']);
    });

    it('sends once however many ask for it at the same time', async () => {
      const id = await scheduled('alice', 1_000);
      const asked = Array.from({ length: 8 }, (_, index) => manage('alice', id, index % 2 === 0 ? 'send' : 'restart'));
      await server.clock.advance(1_000);
      await Promise.all(asked);
      await finalised('alice', id);
      expect(await bodies()).to.deep.equal(['later']);
    });
  });

  describe('errors at the time of sending', () => {
    it('are kept with the event, which is not sent', async () => {
      await server.join('bob', room);
      const id = await scheduled('bob', 5_000);
      await server.must('bob', 'POST', `/rooms/${room}/leave`, {});
      await server.clock.advance(5_000);
      await finalised('bob', id);
      const seen = await one('bob', id);
      expect(seen.error.errcode).to.equal('M_FORBIDDEN');
      expect(seen).to.not.have.property('event_id');
      expect((await manage('bob', id, 'cancel')).status).to.equal(200);
      expect((await manage('bob', id, 'send')).status).to.equal(409);
    });

    it('do not matter before: power and membership count when it is sent', async () => {
      const id = await scheduled('bob', 5_000);
      await server.join('bob', room);
      await server.clock.advance(5_000);
      await finalised('bob', id);
      expect(await bodies()).to.deep.equal(['later']);
    });

    it('answer a send by hand, and leave it scheduled', async () => {
      const id = await scheduled('bob', HOUR);
      const refused = await manage('bob', id, 'send');
      expect([refused.status, refused.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
      expect((await one('bob', id)).finalised_ts).to.equal(undefined);
      await server.join('bob', room);
      expect((await manage('bob', id, 'send')).status).to.equal(200);
    });

    it('include deactivation, locking and suspension of the account', async () => {
      const ids: string[] = [];
      const states = [{ deactivated: true }, { locked: true }, { suspended: true }];
      const codes: string[] = [];
      for (const [index, state] of states.entries()) {
        const user = `user${String.fromCharCode(97 + index)}`;
        await server.join(user, room);
        ids.push(await scheduled(user, 1_000));
        await setAccount(server, user, state);
        await server.clock.advance(1_000);
        await server.idle();
        // So that the user may ask.
        await setAccount(server, user, Object.fromEntries(Object.keys(state).map((key) => [key, false])));
        codes.push((await one(user, ids.at(-1)!)).error.errcode);
      }
      expect(codes).to.deep.equal(['M_USER_DEACTIVATED', 'M_USER_LOCKED', 'M_USER_SUSPENDED']);
      expect(await bodies()).to.deep.equal([]);
    });
  });

  describe('listing', () => {
    it('shows what is scheduled in the order in which it will be sent, to its owner only', async () => {
      const late = await scheduled('alice', 3 * HOUR);
      const early = await scheduled('alice', HOUR);
      const { delayed_events: events } = await list('alice');
      expect(events.map((event: Json) => event.delay_id)).to.deep.equal([early, late]);
      expect(events[0]).to.include({ delay_ms: HOUR, delay: HOUR, room_id: room });
      expect(events[0].running_since).to.equal(events[0].scheduled_at);
      expect((await list('bob')).delayed_events).to.deep.equal([]);
      expect((await server.ask('bob', 'GET', `${UNSTABLE}/delayed_events/${early}`)).body.errcode).to.equal(
        'M_NOT_FOUND',
      );
      expect((await server.ask(undefined, 'GET', `${UNSTABLE}/delayed_events/${early}`)).status).to.equal(401);
      await manage('alice', early, 'cancel');
      expect((await list('alice')).delayed_events).to.have.length(1);
    });

    it('knows the filters and names of earlier texts', async () => {
      const sent = await scheduled('alice', 1_000);
      const cancelled = await scheduled('alice', HOUR);
      const waiting = await scheduled('alice', HOUR);
      await server.clock.advance(1_000);
      await finalised('alice', sent);
      await server.clock.advance(1_000);
      await manage('alice', cancelled, 'cancel');
      const over = await list('alice', '?status=finalised');
      expect(
        over.finalised.map((event: Json) => [event.delayed_event.delay_id, event.outcome, event.reason]),
      ).to.deep.equal([
        [cancelled, 'cancel', 'action'],
        [sent, 'send', 'delay'],
      ]);
      const two = await list('alice', `?delay_id=${sent}&delay_id=${waiting}`);
      expect(two.scheduled.map((event: Json) => event.delay_id)).to.deep.equal([waiting]);
      expect(two.finalised.map((event: Json) => event.delayed_event.delay_id)).to.deep.equal([sent]);
      expect((await server.ask('alice', 'GET', `${UNSTABLE}/delayed_events?from=x`)).body.errcode).to.equal(
        'M_INVALID_PARAM',
      );
      expect((await server.ask('alice', 'GET', `${UNSTABLE}/delayed_events?status=x`)).body.errcode).to.equal(
        'M_INVALID_PARAM',
      );
    });
  });

  describe('the delay id of an event', () => {
    const idIn = (event: Json): unknown => event.unsigned?.['org.matrix.msc4140.delay_id'];

    it('is shown to its sender, also after a restart, and to nobody else', async () => {
      await server.join('bob', room);
      const id = await scheduled('alice', HOUR);
      await manage('alice', id, 'send');
      const { event_id: eventId } = await one('alice', id);
      expect(idIn((await history('alice'))[0])).to.equal(id);
      expect(idIn((await history('bob'))[0])).to.equal(undefined);
      await server.restart();
      expect(idIn((await history('alice/PHONE'))[0])).to.equal(id);
      expect(idIn(await server.must('alice', 'GET', `/rooms/${room}/event/${eventId}`))).to.equal(id);
      expect(idIn(await server.must('bob', 'GET', `/rooms/${room}/event/${eventId}`))).to.equal(undefined);
      expect((await history('alice'))[0].unsigned).to.not.have.property('transaction_id');
    });
  });

  describe('what cannot be scheduled', () => {
    it('is refused with what is wrong', async () => {
      const content = text('no');
      const codes = async (body: object): Promise<string> => {
        const { status, body: answer } = await schedule('alice', body);
        return `${status} ${answer.errcode}`;
      };
      expect(await codes({ content })).to.equal('400 M_MISSING_PARAM');
      expect(await codes({ delay_ms: 1_000 })).to.equal('400 M_MISSING_PARAM');
      for (const delay of [0, -1, '5', null, 1.5])
        expect(await codes({ delay_ms: delay, content })).to.equal('400 M_BAD_JSON');
      expect(await codes({ delay_ms: 1_000, content: 'text' })).to.equal('400 M_BAD_JSON');
      expect(await codes({ delay_ms: 1_000, content, state_key: 7 })).to.equal('400 M_BAD_JSON');
      expect(await codes({ delay_ms: 1_000, content, state_key: 'a\0b' })).to.equal('400 M_INVALID_PARAM');
      expect(await codes({ delay_ms: 1_000, content: { body: 'x'.repeat(70_000) } })).to.equal('413 M_TOO_LARGE');
      expect(await codes({ delay_ms: 86_400_001, content })).to.equal('403 M_FORBIDDEN');
      const nowhere = await server.ask('alice', 'PUT', `${UNSTABLE}/rooms/nowhere/delayed_event/m.x/1`, {
        delay_ms: 1,
        content,
      });
      expect(nowhere.body.errcode).to.equal('M_INVALID_PARAM');
    });
  });

  describe('parameters of /send and /state', () => {
    const DELAY = 'org.matrix.msc4140.delay';

    it('schedule messages and state events', async () => {
      const message = await server.must(
        'alice',
        'PUT',
        `/rooms/${room}/send/m.room.message/old?${DELAY}=2000`,
        text('old'),
      );
      expect(message).to.have.all.keys('delay_id');
      const state = await server.must('alice', 'PUT', `/rooms/${room}/state/m.room.name/?${DELAY}=1000`, {
        name: 'old',
      });
      expect((await one('alice', state.delay_id)).state_key).to.equal('');
      const again = await server.must(
        'alice',
        'PUT',
        `/rooms/${room}/send/m.room.message/old?${DELAY}=2000`,
        text('old'),
      );
      expect(again).to.deep.equal(message);
      await server.clock.advance(2_000);
      await finalised('alice', message.delay_id);
      expect(await bodies()).to.deep.equal(['old']);
      expect((await server.must('alice', 'GET', `/rooms/${room}/state/m.room.name`)).name).to.equal('old');
    });

    it('are refused as clients expect it', async () => {
      const long = await server.ask(
        'alice',
        'PUT',
        `/rooms/${room}/send/m.room.message/l?${DELAY}=86400001`,
        text('x'),
      );
      expect(long.status).to.equal(400);
      expect(long.body).to.include({
        errcode: 'M_UNKNOWN',
        'org.matrix.msc4140.errcode': 'M_MAX_DELAY_EXCEEDED',
        'org.matrix.msc4140.max_delay': 86_400_000,
      });
      for (const bad of [`${DELAY}=0`, `${DELAY}=-5`, `${DELAY}=soon`, 'org.matrix.msc4140.parent_delay_id=x']) {
        const answer = await server.ask('alice', 'PUT', `/rooms/${room}/send/m.room.message/b?${bad}`, text('x'));
        expect(answer.body.errcode, bad).to.equal('M_INVALID_PARAM');
      }
      expect(await bodies()).to.deep.equal([]);
    });

    it('schedule redactions', async () => {
      const target = await server.say('alice', room, 'for a while');
      const path = `/rooms/${room}/redact/${target}/r1?${DELAY}=1000`;
      const { delay_id: id } = await server.must('alice', 'PUT', path, { reason: 'over' });
      const content = async (): Promise<object> =>
        (await server.must('alice', 'GET', `/rooms/${room}/event/${target}`)).content;
      expect(await content()).to.not.deep.equal({});
      await server.clock.advance(1_000);
      await finalised('alice', id);
      expect(await content()).to.deep.equal({});
    });

    it('make events whose end clients learn as not found', async () => {
      const { delay_id: id } = await server.must(
        'alice',
        'PUT',
        `/rooms/${room}/send/m.room.message/e?${DELAY}=2000`,
        text('x'),
      );
      await manage('alice', id, 'send');
      const answer = await manage('alice', id, 'restart');
      expect([answer.status, answer.body.errcode]).to.deep.equal([409, 'M_NOT_FOUND']);
    });
  });

  it('lets bridges say when the event was sent', async () => {
    await server.join('as-bridge', room);
    const answer = await schedule('as-bridge', { delay_ms: 1_000, content: text('old') }, { query: '?ts=1234567' });
    await server.clock.advance(1_000);
    await finalised('as-bridge', answer.body.delay_id);
    expect((await history())[0].origin_server_ts).to.equal(1_234_567);
    expect((await one('as-bridge', answer.body.delay_id)).finalised_ts).to.be.greaterThan(1_234_567);
  });

  it('sends sticky events, which stick from then on', async () => {
    const sticky = 'org.matrix.msc4354.sticky_duration_ms=60000';
    const newForm = await schedule('alice', { delay_ms: HOUR, content: text('new') }, { query: `?${sticky}` });
    const path = `/rooms/${room}/send/m.room.message/sticky?org.matrix.msc4140.delay=${HOUR}&${sticky}`;
    const oldForm = await server.must('alice', 'PUT', path, text('old'));
    for (const id of [newForm.body.delay_id, oldForm.delay_id]) {
      await manage('alice', id, 'send');
      const { event_id: eventId } = await one('alice', id);
      const event = await server.must('alice', 'GET', `/rooms/${room}/event/${eventId}`);
      expect(event.msc4354_sticky).to.deep.equal({ duration_ms: 60_000 });
    }
    const long = await schedule(
      'alice',
      { delay_ms: 1, content: {} },
      { query: '?org.matrix.msc4354.sticky_duration_ms=-1' },
    );
    expect(long.body.errcode).to.equal('M_INVALID_PARAM');
    const state = await schedule('alice', { delay_ms: 1, content: {}, state_key: '' }, { query: `?${sticky}` });
    expect([state.status, state.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('lets guests do with memberships no more than they may do at once', async () => {
    await server.setState('alice', room, 'm.room.guest_access', { guest_access: 'can_join' });
    await server.join('guest-x', room);
    const { userId } = await server.session('guest-x');
    const of = { type: 'm.room.member' };
    const ids: string[] = [];
    for (const [key, membership] of [
      ['@carol:test', 'invite'],
      [userId, 'knock'],
    ] as const) {
      const answer = await schedule('guest-x', { delay_ms: 1_000, content: { membership }, state_key: key }, of);
      ids.push(answer.body.delay_id);
    }
    const [now = '', later = ''] = ids;
    expect((await manage(undefined, now, 'send')).body.errcode).to.equal('M_GUEST_ACCESS_FORBIDDEN');
    await server.clock.advance(1_000);
    for (const id of [now, later]) {
      await finalised('guest-x', id);
      expect((await one('guest-x', id)).error.errcode).to.equal('M_GUEST_ACCESS_FORBIDDEN');
    }
    const leaving = await schedule(
      'guest-x',
      { delay_ms: 1_000, content: { membership: 'leave' }, state_key: userId },
      of,
    );
    expect((await manage(undefined, leaving.body.delay_id, 'send')).status).to.equal(200);
  });
  it('serves guests', async () => {
    expect((await schedule('guest-x', { delay_ms: 1_000, content: text('x') })).status).to.equal(200);
    expect((await list('guest-x')).delayed_events).to.have.length(1);
  });

  it('redacts later', async () => {
    const target = await server.say('alice', room, 'for a while');
    const answer = await schedule(
      'alice',
      { delay_ms: 1_000, content: { redacts: target } },
      { type: 'm.room.redaction' },
    );
    await server.clock.advance(1_000);
    await finalised('alice', answer.body.delay_id);
    expect((await server.must('alice', 'GET', `/rooms/${room}/event/${target}`)).content).to.deep.equal({});
    const redaction = (await history()).find((event) => event.type === 'm.room.redaction');
    expect(redaction.unsigned['org.matrix.msc4140.delay_id']).to.equal(answer.body.delay_id);
  });

  it('cancels everything that a user has scheduled', async () => {
    const id = await scheduled('alice', HOUR);
    const other = await scheduled('bob', HOUR);
    await server.services.delayedEvents.cancelAll('@alice:test');
    expect((await one('alice', id)).finalised_ts).to.be.a('number');
    expect((await one('bob', other)).finalised_ts).to.equal(undefined);
  });
});
