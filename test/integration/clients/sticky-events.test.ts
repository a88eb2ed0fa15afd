import { expect } from 'chai';
import { Preset } from 'matrix-js-sdk';
import { ChildServer } from '#test/support/child-server.ts';
import { SdkClient } from '#test/support/sdk-client.ts';

const MINUTE = 60_000;

describe('clients that are in a call', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let alice: SdkClient;
  let bob: SdkClient;
  let roomId: string;
  const started: SdkClient[] = [];

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    alice = await (await SdkClient.register(server.url, 'alice')).start();
    bob = await (await SdkClient.register(server.url, 'bob')).start();
    started.push(alice, bob);
    roomId = (await alice.client.createRoom({ name: '通話', preset: Preset.PublicChat })).room_id;
    await bob.client.joinRoom(roomId);
    await bob.room(roomId);
  });
  after(async () => {
    for (const client of started) client.stop();
    await server?.dispose();
  });

  /** Who an application shows as taking part. */
  const present = (reader: SdkClient): string[] =>
    [...(reader.client.getRoom(roomId)?._unstable_getStickyEvents() ?? [])]
      .filter((event) => event.getContent()['application'] === 'm.call')
      .map((event) => event.getSender()!)
      .sort();
  const enter = async (
    who: SdkClient,
    content: object = { application: 'm.call' },
    ms = 10 * MINUTE,
  ): Promise<string> => {
    const keyed = { ...content, msc4354_sticky_key: 'LAPTOP' };
    // Types of calls are not among those that the SDK has types for.
    const { event_id: id } = await who.client._unstable_sendStickyEvent(
      roomId,
      ms,
      null,
      'org.example.member' as never,
      keyed as never,
    );
    return id;
  };
  const chat = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n++) await alice.client.sendTextMessage(roomId, `${n}`);
  };

  it('see each other', async () => {
    await enter(alice);
    await enter(bob);
    for (const reader of [alice, bob])
      await reader.until('both', () => present(reader).join() === [alice.userId, bob.userId].join());
  });

  it('see those who were there long before they started, whatever was said since', async () => {
    await chat(30);
    const other = await (await SdkClient.logIn(server.url, 'bob')).start({ initialSyncLimit: 5 });
    started.push(other);
    await other.until('both', () => present(other).join() === [alice.userId, bob.userId].join());
    const carol = await (await SdkClient.register(server.url, 'carol')).start({ initialSyncLimit: 5 });
    started.push(carol);
    await carol.client.joinRoom(roomId);
    await carol.until('both', () => present(carol).join() === [alice.userId, bob.userId].join());
  });

  it('learn across a gap who left meanwhile', async () => {
    const saved = bob.reopened();
    bob.stop();
    await enter(alice, {});
    await chat(30);
    bob = await saved.start({ initialSyncLimit: 5 });
    started.push(bob);
    await bob.until('the gap', () => present(bob).join() === bob.userId);
  });

  it('see nobody any more whose event has expired', async () => {
    const dave = await (await SdkClient.register(server.url, 'dave')).start();
    started.push(dave);
    await dave.client.joinRoom(roomId);
    await dave.room(roomId);
    await enter(dave, { application: 'm.call' }, 1_500);
    await bob.until('dave', () => present(bob).includes(dave.userId));
    await bob.until('no dave', () => !present(bob).includes(dave.userId));
    const late = await (await SdkClient.logIn(server.url, 'dave')).start();
    started.push(late);
    await late.room(roomId);
    expect(present(late)).not.to.include(dave.userId);
  });
});
