import { type Eventually, isPromise, perform, type Steps } from '#src/kernel/concurrency/steps.ts';
import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { assertKeysFit } from '#src/protocol/events/build-pdu.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Names, StateKeyNames } from '#src/storage/room-model/names.ts';
import type { EventDraft } from './event-draft.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { NotificationClassifier } from './notification-class.ts';
import { relationOf, StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { memberKeyFault } from '#src/protocol/content/content-rules.ts';

/** What was read before building. */
export interface LoadedEvents {
  /** Of the events' types, senders and state keys. */
  readonly names: Names;
  readonly byNid: ReadonlyMap<number, StoredEvent>;
  /** Events to redact, by id. */
  readonly targets: ReadonlyMap<string, StoredEvent>;
}

const NO_TARGETS: LoadedEvents['targets'] = new Map();

export interface BuildingNeedsOptions {
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly classifier: NotificationClassifier;
}

/** A draft as the authorization rules look at it. */
export const subjectOf = (draft: EventDraft): Parameters<typeof authEventKeysFor>[1] => ({
  type: draft.type,
  sender: draft.sender,
  content: draft.content,
  ...(draft.stateKey === undefined ? {} : { state_key: draft.stateKey }),
});

/** Reads what events need before they can be built without waiting. */
export class BuildingNeeds {
  readonly #interner: Interner;
  readonly #loader: EventLoader;
  readonly #classifier: NotificationClassifier;

  constructor(options: BuildingNeedsOptions) {
    this.#interner = options.interner;
    this.#loader = options.loader;
    this.#classifier = options.classifier;
  }

  /** Reads what building these events will need. In a room that is in use it is all in memory: nothing is read, and it is there at once. */
  read(room: Room, drafts: readonly EventDraft[]): Eventually<LoadedEvents> {
    return perform(this.#read(room, drafts));
  }

  *#read(room: Room, drafts: readonly EventDraft[]): Steps<LoadedEvents> {
    const recalled = this.#names(room.version, drafts);
    const names = isPromise(recalled) ? ((yield recalled) as Names) : recalled;
    const byNid = new Map<number, StoredEvent>();
    let missing: Set<number> | undefined;
    for (const draft of drafts) {
      for (const [type, stateKey] of this.#stateNeeded(room, draft)) {
        const slot = room.headState(type, stateKey);
        const event = slot && (slot.event ?? this.#loader.peek(slot.nid));
        if (event !== undefined) byNid.set(event.nid, event);
        else if (slot !== undefined) (missing ??= new Set()).add(slot.nid);
      }
    }
    if (missing !== undefined) {
      const places = [...missing].map((nid) => ({ room, nid }));
      const loaded = (yield this.#loader.load(places)) as ReadonlyMap<number, StoredEvent>;
      for (const [nid, event] of loaded) byNid.set(nid, event);
    }
    let targets: Map<string, StoredEvent> | undefined;
    for (const { redacts } of drafts) {
      const target = redacts && ((yield this.#target(room, redacts)) as StoredEvent | undefined);
      if (target instanceof StoredEvent) (targets ??= new Map()).set(target.eventId, target);
    }
    const classifying = this.#classifier.prepare(room, drafts);
    if (classifying !== undefined) yield classifying;
    return { names, byNid, targets: targets ?? NO_TARGETS };
  }

  async #target(room: Room, eventId: string): Promise<StoredEvent | undefined> {
    return room.ring.events.findLast((event) => event.eventId === eventId) ?? this.#loader.byId(room, eventId);
  }

  #names(version: RoomVersion, drafts: readonly EventDraft[]): Eventually<Names> {
    const interner = this.#interner;
    const types: string[] = [];
    const users: string[] = [];
    const stateKeys: StateKeyNames[] = [];
    for (const { type, stateKey, sender, content } of drafts) {
      // The rest of an event is kept as JSON, these two as PostgreSQL's text.
      if (type.includes('\0') || stateKey?.includes('\0') === true)
        throw new MatrixError('M_BAD_JSON', 'The type and the state key of an event must not hold NUL characters.');
      const keyFault = memberKeyFault(type, stateKey);
      if (keyFault !== undefined) throw new MatrixError('M_BAD_JSON', keyFault);
      types.push(type);
      const relation = relationOf(content);
      if (relation !== undefined) types.push(relation.relType);
      users.push(sender);
      if (stateKey === undefined) continue;
      if (type === 'm.room.member') users.push(stateKey);
      stateKeys.push({ type, stateKey });
    }
    // What is too long for an event is too long for an index, too.
    const isKnown =
      types.every((type) => interner.peekType(type) !== undefined) &&
      stateKeys.every(({ type, stateKey }) => interner.peekStateKey(type, stateKey) !== undefined);
    if (!isKnown) for (const draft of drafts) assertKeysFit(version, subjectOf(draft));
    const wanted = { types, users, stateKeys };
    return interner.recall(wanted) ?? interner.ensure(wanted);
  }

  #stateNeeded(room: Room, draft: EventDraft): readonly (readonly [string, string])[] {
    const needed: (readonly [string, string])[] = [
      ...authEventKeysFor(room.version, subjectOf(draft)),
      ['m.room.create', ''],
    ];
    if (draft.stateKey !== undefined) needed.push([draft.type, draft.stateKey]);
    return needed;
  }
}
