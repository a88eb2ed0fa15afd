import { threadMembers } from '#src/services/push/threads/thread-page.ts';
import type { ProfileUpdate } from '../profiles/profile-updates.ts';
import type { ExtensionAnswers } from './sliding-extensions.ts';
import type { Hero, RoomAnswer, StateEntry } from './room-answer.ts';
import type { SlidingAnswer } from './sliding-sync.ts';
import type { ListAnswer } from './wanted-rooms.ts';
import type { WireForm } from './sliding-request.ts';

type Members = [name: string, text: string | undefined][];

/**
 * A JSON object of members whose values are JSON texts already; those that are undefined are left out. Texts are added to each other
 * rather than joined: so they are copied once, when the whole of them is written, and not again at every level.
 */
const objectText = (members: Members): string => {
  let text = '{';
  for (const [name, value] of members)
    if (value !== undefined) text += `${text.length === 1 ? '' : ','}${JSON.stringify(name)}:${value}`;
  return text + '}';
};

const textOf = (value: unknown): string | undefined => (value === undefined ? undefined : JSON.stringify(value));
const flagText = (flag: boolean | undefined): string | undefined => (flag === undefined ? undefined : String(flag));
const whenTrue = (flag: boolean): string | undefined => (flag ? 'true' : undefined);
const listText = (texts: readonly string[]): string => {
  let text = '[';
  for (const one of texts) text += text.length === 1 ? one : `,${one}`;
  return text + ']';
};

const heroText = ({ userId, displayname, avatarUrl }: Hero): string =>
  objectText([
    ['user_id', textOf(userId)],
    ['displayname', textOf(displayname)],
    ['avatar_url', textOf(avatarUrl)],
  ]);

/** "indicate that a piece of state has been deleted". MSC4186, `StateStub`. */
const stubText = ({ type, stateKey }: StateEntry): string => JSON.stringify({ type, state_key: stateKey });

/** A room as clients know it from the unstable API. */
const unstableRoom = (answer: RoomAnswer): string => {
  const { listed, strippedState } = answer;
  const isOutside = strippedState !== undefined;
  // Who has left is not told who comes later.
  const hidesCounts = isOutside || listed.member.membership !== 'join';
  return objectText([
    ['name', textOf(answer.name)],
    ['avatar', textOf(answer.avatar)],
    ['heroes', answer.heroes === undefined ? undefined : listText(answer.heroes.map(heroText))],
    ['is_dm', flagText(answer.isDm)],
    ['initial', whenTrue(answer.isInitial)],
    ['unstable_expanded_timeline', whenTrue(answer.isExpanded)],
    ['required_state', isOutside ? undefined : listText(answer.requiredState)],
    ['timeline', answer.timeline === undefined ? undefined : `[${answer.timeline}]`],
    ['prev_batch', textOf(answer.prevBatch)],
    ['limited', isOutside ? undefined : String(answer.isLimited)],
    ['num_live', isOutside ? undefined : String(answer.live)],
    ['invite_state', textOf(strippedState)],
    ['bump_stamp', String(listed.bumpStamp)],
    ['joined_count', hidesCounts ? undefined : String(listed.room.joinedCount)],
    ['invited_count', hidesCounts ? undefined : String(listed.room.invitedCount)],
    ['notification_count', String(answer.notification)],
    ['highlight_count', String(answer.highlight)],
  ]);
};

/** A room in the form that was accepted. */
const acceptedRoom = (answer: RoomAnswer): string => {
  const { listed, strippedState } = answer;
  const isOutside = strippedState !== undefined;
  // Who has left is not told who comes later.
  const hidesCounts = isOutside || listed.member.membership !== 'join';
  return objectText([
    ['name', answer.isInitial ? (textOf(answer.name) ?? 'null') : textOf(answer.name)],
    ['avatar', textOf(answer.avatar)],
    ['heroes', answer.heroes === undefined ? undefined : listText(answer.heroes.map(heroText))],
    ['is_dm', flagText(answer.isDm)],
    ['initial', whenTrue(answer.isInitial)],
    ['expanded_timeline', whenTrue(answer.isExpanded)],
    ['membership', textOf(listed.member.membership)],
    ['lists', answer.lists.length === 0 ? undefined : JSON.stringify(answer.lists)],
    [
      'required_state',
      isOutside ? undefined : listText([...answer.requiredState, ...answer.removedState.map(stubText)]),
    ],
    ['timeline', answer.timeline === undefined ? undefined : `[${answer.timeline}]`],
    ['prev_batch', textOf(answer.prevBatch)],
    ['limited', isOutside ? undefined : String(answer.isLimited)],
    ['num_live', isOutside ? undefined : String(answer.live)],
    ['stripped_state', textOf(strippedState)],
    ['bump_stamp', String(listed.bumpStamp)],
    ['joined_count', hidesCounts ? undefined : String(listed.room.joinedCount)],
    ['invited_count', hidesCounts ? undefined : String(listed.room.invitedCount)],
  ]);
};

const unstableList = ({ count, windows }: ListAnswer): string =>
  JSON.stringify({ count, ops: windows.map(({ range, roomIds }) => ({ op: 'SYNC', range, room_ids: roomIds })) });

const acceptedList = ({ count }: ListAnswer): string => JSON.stringify({ count });

/** A JSON object by names: of rooms, of users. */
const byName = <Value>(values: ReadonlyMap<string, Value>, text: (value: Value) => string): string =>
  objectText([...values].map(([name, value]) => [name, text(value)]));

const profileText = (update: ProfileUpdate): string =>
  update === undefined
    ? 'null'
    : JSON.stringify({
        ...(Object.keys(update.updated).length === 0 ? {} : { updated: update.updated }),
        ...(update.removed.length === 0 ? {} : { removed: update.removed }),
      });

const extensionsText = ({
  accountData,
  e2ee,
  profiles,
  receipts,
  threadSubscriptions,
  toDevice,
  typing,
}: ExtensionAnswers): string =>
  objectText([
    [
      'to_device',
      toDevice && `{"next_batch":${JSON.stringify(toDevice.nextBatch)},"events":${listText(toDevice.events)}}`,
    ],
    [
      'e2ee',
      e2ee &&
        objectText([
          ['device_lists', textOf(e2ee.deviceLists)],
          ['device_one_time_keys_count', textOf(e2ee.counts.oneTime)],
          ['device_unused_fallback_key_types', textOf(e2ee.counts.unusedFallback)],
        ]),
    ],
    [
      'account_data',
      accountData && `{"global":${listText(accountData.global)},"rooms":${byName(accountData.rooms, listText)}}`,
    ],
    ['receipts', receipts && `{"rooms":${byName(receipts, (content) => `{"type":"m.receipt","content":${content}}`)}}`],
    [
      'typing',
      typing &&
        `{"rooms":${byName(typing, (users) => `{"type":"m.typing","content":{"user_ids":${JSON.stringify(users)}}}`)}}`,
    ],
    [
      threadSubscriptions?.name ?? '',
      threadSubscriptions &&
        JSON.stringify({
          ...threadMembers(threadSubscriptions.page),
          prev_batch: threadSubscriptions.page.older,
        }),
    ],
    [profiles?.name ?? '', profiles && `{"users":${byName(profiles.users, profileText)}}`],
  ]);

/** Writes an answer in one of the two forms of the API. MSC4186. */
export const slidingEncoder =
  (form: WireForm) =>
  ({ extensions, lists, pos, rooms, txnId }: SlidingAnswer): string => {
    const roomText = form === 'v4' ? acceptedRoom : unstableRoom;
    const listTextOf = form === 'v4' ? acceptedList : unstableList;
    return objectText([
      ['pos', textOf(pos)],
      ['txn_id', textOf(txnId)],
      ['lists', objectText(lists.map((list) => [list.name, listTextOf(list)]))],
      ['rooms', objectText(rooms.map((answer) => [answer.listed.room.roomId, roomText(answer)]))],
      ['extensions', extensionsText(extensions)],
    ]);
  };
