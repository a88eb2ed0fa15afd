import { expect } from 'chai';
import {
  ConditionKind,
  MsgType,
  NotificationCountType,
  Preset,
  PushRuleActionName,
  PushRuleKind,
  ReceiptType,
  RelationType,
} from 'matrix-js-sdk';
import { ChildServer } from '#test/support/child-server.ts';
import { SdkClient } from '#test/support/sdk-client.ts';

describe('unread counts and push rules, as js-sdk clients on two devices see them', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let alice: SdkClient;
  let desk: SdkClient;
  let phone: SdkClient;
  let roomId: string;

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    alice = await (await SdkClient.register(server.url, 'alice')).start();
    desk = await (await SdkClient.register(server.url, 'bob')).start();
    phone = await (await SdkClient.logIn(server.url, 'bob')).start();
  });
  after(async () => {
    for (const client of [alice, desk, phone]) client?.stop();
    await server?.dispose();
  });
  beforeEach(async () => {
    ({ room_id: roomId } = await alice.client.createRoom({ preset: Preset.PublicChat }));
    await alice.room(roomId);
    await desk.client.joinRoom(roomId);
    for (const device of [desk, phone]) await device.until('the room', () => device.membership(roomId) === 'join');
  });

  /** What a device shows: everything unread, and of it what speaks to the user. */
  const counts = (device: SdkClient): [number, number] => {
    const room = device.client.getRoom(roomId)!;
    return [
      room.getUnreadNotificationCount(NotificationCountType.Total),
      room.getUnreadNotificationCount(NotificationCountType.Highlight),
    ];
  };
  const untilCounts = (device: SdkClient, total: number, highlights: number): Promise<unknown> =>
    device
      .until(`${total} unread, ${highlights} highlights`, () => counts(device).join() === `${total},${highlights}`)
      .catch((error: Error) => {
        throw new Error(`${error.message}; it shows ${counts(device).join()}`, { cause: error });
      });
  const mention = (body: string): object => ({
    msgtype: MsgType.Text,
    body,
    'm.mentions': { user_ids: [desk.userId] },
  });

  it('counts messages, and mentions as highlights, on all devices; none for who wrote them', async () => {
    await alice.client.sendTextMessage(roomId, 'ひとつ');
    await alice.client.sendMessage(roomId, mention('ふたつ') as never);
    for (const device of [desk, phone]) await untilCounts(device, 2, 1);
    expect(counts(alice)).to.deep.equal([0, 0]);
  });

  it('brings the counts of a device to zero when the other device sends a receipt, public or private', async () => {
    for (const kind of [ReceiptType.Read, ReceiptType.ReadPrivate]) {
      const { event_id: last } = await alice.client.sendMessage(roomId, mention(kind) as never);
      for (const device of [desk, phone]) await untilCounts(device, 1, 1);
      await desk.sees(roomId, last);
      await desk.client.sendReadReceipt(desk.client.getRoom(roomId)!.findEventById(last)!, kind);
      for (const device of [desk, phone]) await untilCounts(device, 0, 0);
    }
  });

  it('brings them to zero by read markers, and moves the marker on the other device', async () => {
    const { event_id: last } = await alice.client.sendTextMessage(roomId, '読んで');
    await untilCounts(phone, 1, 0);
    await desk.sees(roomId, last);
    await desk.client.setRoomReadMarkers(roomId, last, desk.client.getRoom(roomId)!.findEventById(last)!);
    await untilCounts(phone, 0, 0);
    await phone.until(
      'the marker',
      () => phone.client.getRoom(roomId)!.getAccountData('m.fully_read')?.getContent()['event_id'] === last,
    );
  });

  it('brings them to zero when the user says something', async () => {
    await alice.client.sendTextMessage(roomId, 'もしもし');
    await untilCounts(phone, 1, 0);
    await desk.client.sendTextMessage(roomId, 'はい');
    await untilCounts(phone, 0, 0);
  });

  it('counts threads on their own, and a threaded receipt empties only its thread', async () => {
    const { event_id: root } = await alice.client.sendTextMessage(roomId, '話題');
    const { event_id: reply } = await alice.client.sendMessage(roomId, root, mention('返事') as never);
    const inThread = (device: SdkClient): number =>
      device.client.getRoom(roomId)!.getThreadUnreadNotificationCount(root, NotificationCountType.Total);
    const highlights = (device: SdkClient): number =>
      device.client.getRoom(roomId)!.getThreadUnreadNotificationCount(root, NotificationCountType.Highlight);
    for (const device of [desk, phone]) {
      await device.until('the thread', () => inThread(device) === 1 && highlights(device) === 1);
      expect(device.client.getRoom(roomId)!.getRoomUnreadNotificationCount(NotificationCountType.Total)).to.equal(1);
    }
    const event = await desk.until('the reply', () =>
      desk.client.getRoom(roomId)!.getThread(root)?.findEventById(reply),
    );
    expect(event.getRelation()).to.include({ rel_type: RelationType.Thread, event_id: root });
    await desk.client.sendReadReceipt(event);
    await phone.until('the thread is read', () => inThread(phone) === 0 && highlights(phone) === 0);
    expect(phone.client.getRoom(roomId)!.getRoomUnreadNotificationCount(NotificationCountType.Total)).to.equal(1);
    await desk.client.sendReadReceipt(desk.client.getRoom(roomId)!.findEventById(root)!);
    await untilCounts(phone, 0, 0);
  });

  it('counts nothing in a muted room, and tells the other device of the rule', async () => {
    await desk.client.setRoomMutePushRule('global', roomId, true);
    await phone.until('the rule', () => phone.client.pushRules?.global.room?.some(({ rule_id: id }) => id === roomId));
    await alice.client.sendTextMessage(roomId, 'しずか');
    const { event_id: last } = await alice.client.sendTextMessage(roomId, 'とても');
    await phone.sees(roomId, last);
    expect(counts(phone)).to.deep.equal([0, 0]);
    await desk.client.setRoomMutePushRule('global', roomId, false);
    await phone.until('no rule', () => !phone.client.pushRules?.global.room?.some(({ rule_id: id }) => id === roomId));
    await alice.client.sendTextMessage(roomId, 'もういい');
    await phone.until('counts again', () => counts(phone)[0] > 0);
  });

  it('highlights by a rule of the user’s own, until it is switched off and deleted', async () => {
    const rule = { pattern: '抹茶', actions: [PushRuleActionName.Notify, { set_tweak: 'highlight' }] };
    await desk.client.addPushRule('global', PushRuleKind.ContentSpecific, 'tea', rule as never);
    await alice.client.sendTextMessage(roomId, '抹茶 をどうぞ');
    await untilCounts(phone, 1, 1);
    await desk.client.setPushRuleEnabled('global', PushRuleKind.ContentSpecific, 'tea', false);
    await alice.client.sendTextMessage(roomId, '抹茶 をもう一杯');
    await untilCounts(phone, 2, 1);
    await desk.client.deletePushRule('global', PushRuleKind.ContentSpecific, 'tea');
    await phone.until(
      'no rule',
      () => !phone.client.pushRules?.global.content?.some(({ rule_id: id }) => id === 'tea'),
    );
  });

  it('highlights by a rule with conditions', async () => {
    const conditions = [
      { kind: ConditionKind.EventMatch, key: 'content.body', pattern: '*急*' },
      { kind: ConditionKind.RoomMemberCount, is: '2' },
    ];
    const rule = { conditions, actions: [PushRuleActionName.Notify, { set_tweak: 'highlight', value: true }] };
    await desk.client.addPushRule('global', PushRuleKind.Override, 'urgent', rule as never);
    await alice.client.sendTextMessage(roomId, 'ゆっくり');
    await alice.client.sendTextMessage(roomId, '至急！');
    await untilCounts(phone, 2, 1);
    await desk.client.deletePushRule('global', PushRuleKind.Override, 'urgent');
  });
});
