import { expect } from 'chai';
import { EventTimeline, type MatrixError, MsgType, Preset, UpdateDelayedEventAction } from 'matrix-js-sdk';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { SdkClient } from '#test/support/sdk-client.ts';

const HOUR = 3_600_000;

describe('delayed events, as js-sdk clients schedule and manage them', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let alice: SdkClient;
  let phone: SdkClient;
  let bob: SdkClient;
  let roomId: string;

  before(async () => {
    server = await InProcessServer.start({ config: { delayedEvents: { maxDelayMs: 24 * HOUR } } });
    alice = await (await SdkClient.register(server.url, 'alice')).start();
    phone = await (await SdkClient.logIn(server.url, 'alice')).start();
    bob = await (await SdkClient.register(server.url, 'bob')).start();
    ({ room_id: roomId } = await alice.client.createRoom({ preset: Preset.PublicChat }));
    await bob.client.joinRoom(roomId);
    await Promise.all([alice.room(roomId), phone.room(roomId), bob.room(roomId)]);
  });
  after(async () => {
    for (const client of [alice, phone, bob]) client?.stop();
    await server?.stop();
  });

  const say = async (delay: number, body: string): Promise<string> => {
    const content = { msgtype: MsgType.Text as const, body };
    return (
      await alice.client._unstable_sendDelayedEvent(
        roomId,
        { delay },
        null,
        'm.room.message' as never,
        content as never,
      )
    ).delay_id;
  };
  const name = (client: SdkClient): unknown =>
    client.client
      .getRoom(roomId)
      ?.getLiveTimeline()
      .getState(EventTimeline.FORWARDS)
      ?.getStateEvents('m.room.topic', '')
      ?.getContent()['topic'];

  it('are supported', async () => {
    expect(await alice.client.doesServerSupportUnstableFeature('org.matrix.msc4140')).to.equal(true);
    const capabilities = (await alice.client.getCapabilities()) as Record<string, unknown>;
    expect(capabilities['org.matrix.msc4140.delayed_events']).to.deep.equal({
      max_delay_ms: 24 * HOUR,
      max_scheduled: 100,
    });
  });

  it('arrive when their time has come; their senders alone learn which they were', async () => {
    const delayId = await say(300, 'in a moment');
    await server.clock.advance(300);
    await bob.until('the message', () => bob.texts(roomId).includes('in a moment'));
    const found = async (client: SdkClient): Promise<unknown> => {
      const event = await client.until('the event', () =>
        client.client
          .getRoom(roomId)
          ?.getLiveTimeline()
          .getEvents()
          .find((one) => one.getContent()['body'] === 'in a moment'),
      );
      return (event.getUnsigned() as Record<string, unknown>)['org.matrix.msc4140.delay_id'];
    };
    expect(await found(alice)).to.equal(delayId);
    expect(await found(phone)).to.equal(delayId);
    expect(await found(bob)).to.equal(undefined);
    const seen = await alice.client._unstable_getDelayedEvent(delayId);
    expect(seen.finalised?.event_id).to.be.a('string');
    expect(seen.delayed_since_ts).to.be.a('number');
  });

  it('set state, are restarted, and sent at once', async () => {
    const { delay_id: delayId } = await alice.client._unstable_sendDelayedStateEvent(
      roomId,
      { delay: HOUR },
      'm.room.topic' as never,
      { topic: 'by delay' } as never,
    );
    const before = await alice.client._unstable_getDelayedEvent(delayId);
    await alice.client._unstable_restartScheduledDelayedEvent(delayId);
    const restarted = await alice.client._unstable_getDelayedEvent(delayId);
    expect(restarted.delayed_since_ts).to.be.at.least(before.delayed_since_ts);
    await alice.client._unstable_sendScheduledDelayedEvent(delayId);
    await bob.until('the topic', () => name(bob) === 'by delay');
    // Repeated, as after an answer that got lost.
    await alice.client._unstable_sendScheduledDelayedEvent(delayId);
  });

  it('are cancelled, in the form of today and in the one before', async () => {
    const first = await say(HOUR, 'never');
    const second = await say(HOUR, 'never either');
    await alice.client._unstable_cancelScheduledDelayedEvent(first);
    await alice.client._unstable_updateDelayedEvent(second, UpdateDelayedEventAction.Restart);
    await alice.client._unstable_updateDelayedEvent(second, UpdateDelayedEventAction.Cancel);
    const { finalised } = await alice.client._unstable_getDelayedEvents('finalised', [first, second]);
    expect(finalised?.map((event) => [event.outcome, event.reason])).to.deep.equal([
      ['cancel', 'action'],
      ['cancel', 'action'],
    ]);
    let failure: MatrixError | undefined;
    await alice.client._unstable_restartScheduledDelayedEvent(first).catch((error: MatrixError) => (failure = error));
    // The SDK's calls go by this errcode: there is nothing to restart, a new one has to be scheduled.
    expect([failure?.httpStatus, failure?.errcode]).to.deep.equal([409, 'M_NOT_FOUND']);
  });

  it('are listed for their sender', async () => {
    const late = await say(2 * HOUR, 'late');
    const early = await say(HOUR, 'early');
    const { scheduled } = await phone.client._unstable_getDelayedEvents('scheduled');
    expect(scheduled?.map((event) => event.delay_id)).to.deep.equal([early, late]);
    expect(scheduled?.[0]).to.include({ delay: HOUR, room_id: roomId, type: 'm.room.message' });
    expect((await bob.client._unstable_getDelayedEvents()).scheduled).to.deep.equal([]);
  });

  it('say how long a delay may be in the way that calls adapt to', async () => {
    let failure: MatrixError | undefined;
    await say(24 * HOUR + 1, 'too late').catch((error: MatrixError) => (failure = error));
    expect(failure?.errcode).to.equal('M_UNKNOWN');
    expect(failure?.data).to.include({
      'org.matrix.msc4140.errcode': 'M_MAX_DELAY_EXCEEDED',
      'org.matrix.msc4140.max_delay': 24 * HOUR,
    });
  });

  it('are sent after their device has logged out, and not after the account has been deactivated', async () => {
    const content = { msgtype: MsgType.Text as const, body: 'hung up' };
    const tablet = await SdkClient.logIn(server.url, 'alice');
    await tablet.client._unstable_sendDelayedEvent(
      roomId,
      { delay: 1_000 },
      null,
      'm.room.message' as never,
      content as never,
    );
    await tablet.client.logout(true);
    await server.clock.advance(1_000);
    await bob.until('the message', () => bob.texts(roomId).includes('hung up'));

    const carol = await SdkClient.register(server.url, 'carol');
    await carol.client.joinRoom(roomId);
    const ghost = { msgtype: MsgType.Text as const, body: 'from beyond' };
    await carol.client._unstable_sendDelayedEvent(
      roomId,
      { delay: 700 },
      null,
      'm.room.message' as never,
      ghost as never,
    );
    await carol.client
      .deactivateAccount({
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: 'carol' },
        password: 'correct horse battery staple',
      } as never)
      .catch(async (error: MatrixError) => {
        const session = error.data['session'] as string;
        await carol.client.deactivateAccount({
          type: 'm.login.password',
          identifier: { type: 'm.id.user', user: 'carol' },
          password: 'correct horse battery staple',
          session,
        } as never);
      });
    await server.idle();
    await server.clock.advance(700);
    await server.idle();
    const { event_id: last } = await alice.client.sendTextMessage(roomId, 'and now?');
    await bob.sees(roomId, last);
    expect(bob.texts(roomId)).to.not.include('from beyond');
  });
});
