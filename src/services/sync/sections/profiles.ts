import type { Subscribable } from '#src/kernel/signal.ts';
import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { DeviceListDeltas } from '../device-lists/device-list-deltas.ts';
import type { Part, Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';
import { SentToClient } from '../engine/sent-to-client.ts';
import { sharedUsers } from '../engine/shared-users.ts';
import type { SyncUser } from '../engine/sync-user.ts';
import type { DueProfile, ProfileAnswer, ProfileUpdates } from '../profiles/profile-updates.ts';
import type { RoomEventsSection } from './room-events.ts';

/** The name that MSC4429 gives it until it is accepted. */
const USERS = 'org.matrix.msc4429.users';

/** Users whose profiles a device is remembered to have been sent. */
const MAX_SENT = 2_000;
/** Remainders kept for one device, so that a lost response can be sent again. */
const MAX_RESTS = 4;

const EMPTY_VIEW: SectionView = {};

const isSubset = (some: ReadonlySet<string>, all: ReadonlySet<string>): boolean =>
  [...some].every((field) => all.has(field));

/** The profiles that one device was sent, as far as that is remembered. */
class SentProfiles {
  /** The fields that the device has. */
  #fields: ReadonlySet<string>;
  /** More fields, by the rests of answers that may have got lost: the device has them when it comes with the number of that rest. */
  readonly #wider = new Map<number, ReadonlySet<string>>();
  /** For devices that load members lazily: the users whose whole profiles they have. */
  readonly users = new SentToClient<true>(MAX_SENT);
  readonly #rests = new Map<number, readonly DueProfile[]>();

  constructor(fields: ReadonlySet<string>) {
    this.#fields = fields;
  }

  get fields(): ReadonlySet<string> {
    return this.#fields;
  }

  /** The device came with the number of a rest: it has the answer that ended there. */
  acknowledge(rest: number): void {
    const fields = this.#wider.get(rest);
    if (fields === undefined) return;
    this.#fields = fields;
    this.#wider.clear();
  }

  /** Notes that an answer with this rest has more fields than the device had. */
  widen(fields: ReadonlySet<string>, rest: number): void {
    this.#wider.set(rest, fields);
  }

  /** Notes that changes of other fields are not sent any more. */
  narrow(fields: ReadonlySet<string>): void {
    if (!isSubset(this.#fields, fields)) this.#fields = new Set([...this.#fields].filter((field) => fields.has(field)));
  }

  /** Undefined when it is not remembered. */
  rest(number: number): readonly DueProfile[] | undefined {
    return this.#rests.get(number);
  }

  keep(number: number, rest: readonly DueProfile[]): void {
    this.#rests.set(number, rest);
    if (this.#rests.size <= MAX_RESTS) return;
    const oldest = this.#rests.keys().next().value as number;
    this.#rests.delete(oldest);
    this.#wider.delete(oldest);
  }
}

export interface ProfilesSectionOptions {
  readonly updates: ProfileUpdates;
  readonly changed: Subscribable<{ readonly userId: string }>;
  readonly deltas: Pick<DeviceListDeltas, 'companions'>;
  /** Returns the users that the reader sees. */
  readonly timelines: Pick<RoomEventsSection, 'seenIn'>;
  readonly rooms: Pick<RoomRegistry, 'visit'>;
}

/**
 * The profile fields that a client asks for: those of all users with whom it shares rooms, or, where it loads members lazily, of those whose
 * events it is sent; afterwards what changes. MSC4429.
 */
export class ProfilesSection implements Section {
  readonly name = 'profiles';
  readonly hasRoomParts = false;
  readonly cursor = 'p';
  readonly keepsRemainder = true;
  readonly #options: ProfilesSectionOptions;
  readonly #devices = new WeakMap<SyncUser, Map<string, SentProfiles>>();
  #rests = 0;

  constructor(options: ProfilesSectionOptions) {
    this.#options = options;
  }

  listen(waker: Waker): void {
    this.#options.changed.subscribe(({ userId }) => waker.companions(userId));
  }

  open(request: SectionRequest): SectionView {
    const fields = request.filter.profileFields;
    if (fields === undefined) return EMPTY_VIEW;
    const { filter, userId } = request;
    const seen = new Set<string>();
    return {
      room: (plan) => {
        if (filter.lazyLoadMembers && plan.section === 'join')
          for (const name of this.#options.timelines.seenIn(plan, userId)) seen.add(name);
        return undefined;
      },
      general: ({ vector }) => this.#part(request, fields, seen, vector),
    };
  }

  /** @param seen users whom this answer shows, for a client that loads members lazily */
  async #part(
    request: SectionRequest,
    fields: ReadonlySet<string>,
    seen: ReadonlySet<string>,
    upTo: PositionVector,
  ): Promise<Part | undefined> {
    const { acknowledged, answer, filter, fullState, isInitial, since, user } = request;
    const { deltas, updates } = this.#options;
    const isAnew = isInitial || fullState;
    const sent = this.#sentTo(user, request.deviceId ?? '', fields, { isInitial, isAnew });
    if (acknowledged !== undefined) sent.users.acknowledge(acknowledged);
    if (request.rest !== undefined) sent.acknowledge(request.rest);
    const isWider = !isSubset(fields, sent.fields);
    const { came, left } = isInitial ? { came: [], left: [] } : await deltas.companions(user, since);
    const rest = request.rest === undefined ? [] : sent.rest(request.rest);
    const whole: DueProfile[] = [...(rest ?? [])];
    if (rest === undefined || (!filter.lazyLoadMembers && (isAnew || isWider)))
      whole.push(...(await sharedUsers(user, this.#options.rooms, 'local')));
    if (filter.lazyLoadMembers) {
      if (isAnew) whole.push(user.userId);
      if (isWider) whole.push(...sent.users.keys);
      for (const userId of seen) if (!sent.users.has(userId, true)) whole.push(userId);
    } else whole.push(...came);
    sent.narrow(fields);
    for (const userId of left) sent.users.delete(userId);
    const { due, users } = await updates.read({
      user,
      fields,
      whole,
      since: isInitial ? undefined : since,
      upTo,
      left: () => Promise.resolve({ left }),
    });
    if (filter.lazyLoadMembers) {
      const later = new Set(due.map(userOf));
      for (const userId of whole.map(userOf)) if (!later.has(userId)) sent.users.add(userId, true, answer);
    }
    if (users.size === 0 && due.length === 0 && !isWider) return undefined;
    const members = users.size === 0 ? {} : { [USERS]: textOf(users) };
    // An answer with more fields has a rest, be it empty: where nothing else has happened, its end would not differ from its beginning.
    if (due.length === 0 && !isWider) return { members, isNews: true };
    this.#rests += 1;
    sent.keep(this.#rests, due);
    if (isWider) sent.widen(fields, this.#rests);
    return { members, isNews: true, until: this.#rests };
  }

  #sentTo(
    user: SyncUser,
    deviceId: string,
    fields: ReadonlySet<string>,
    { isAnew, isInitial }: { readonly isAnew: boolean; readonly isInitial: boolean },
  ): SentProfiles {
    let devices = this.#devices.get(user);
    if (devices === undefined) this.#devices.set(user, (devices = new Map()));
    const known = devices.get(deviceId);
    if (known !== undefined && !isAnew) return known;
    const sent = new SentProfiles(isInitial ? fields : (known?.fields ?? fields));
    devices.set(deviceId, sent);
    return sent;
  }
}

const userOf = (due: DueProfile): string => (typeof due === 'string' ? due : due[0]);

/** A removed field is null, and so is the whole profile of a user who shares no room any more. */
const textOf = (users: ProfileAnswer['users']): string => {
  const texts = [...users].map(([userId, update]) => {
    const fields = update && { ...update.updated, ...Object.fromEntries(update.removed.map((field) => [field, null])) };
    return `${JSON.stringify(userId)}:{"profile_updates":${JSON.stringify(fields ?? null)}}`;
  });
  return `{${texts.join(',')}}`;
};
