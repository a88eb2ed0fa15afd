import fc from 'fast-check';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { ALICE, BOB, type EventServices, membership, message, SERVER, topic } from './event-services.ts';
import { CAROL, DAVE, EVE, type RemoteDraft, type RemoteRoom } from '#test/support/federation/remote-room.ts';

const PEOPLE = [ALICE, BOB, CAROL, DAVE, EVE];

/** Power levels as `makeRoom` sets them, and more. */
export const levels = (content: JsonObject): RemoteDraft => ({
  type: 'm.room.power_levels',
  sender: ALICE,
  stateKey: '',
  content: { users: {}, state_default: 0, redact: 50, ...content },
});

/** What somebody here or elsewhere does in a room that may fork. */
export const forkStep = fc.record({
  who: fc.nat(4),
  target: fc.nat(4),
  what: fc.constantFrom(
    'message',
    'topic',
    'topic',
    'join',
    'leave',
    'ban',
    'kick',
    'invite',
    'levels',
    'levels',
    'rules',
    'rename',
    'redact',
  ),
  value: fc.nat(3),
  prev: fc.array(fc.nat(30), { minLength: 0, maxLength: 3 }),
  oldAuth: fc.nat(12).map((n) => n === 0),
  isLocal: fc.nat(4).map((n) => n === 0),
});
export type ForkStep = typeof forkStep extends fc.Arbitrary<infer S> ? S : never;

const draftOf = (remote: RemoteRoom, { who, target, what, value }: ForkStep): RemoteDraft => {
  const sender = PEOPLE[who]!;
  const other = PEOPLE[target]!;
  switch (what) {
    case 'message':
      return message(sender, `${value}`);
    case 'topic':
      return topic(sender, `${value}`);
    case 'join':
    case 'leave':
      return membership(sender, sender, what);
    case 'rename':
      return membership(sender, sender, 'join', { displayname: `${value}` });
    case 'ban':
    case 'invite':
      return membership(sender, other, what);
    case 'kick':
      return membership(sender, other, 'leave');
    case 'rules':
      return {
        type: 'm.room.join_rules',
        sender,
        stateKey: '',
        content: { join_rule: value < 2 ? 'public' : 'invite' },
      };
    case 'levels': {
      const creators = remote.room.version.auth.privilegedCreators ? {} : { [ALICE]: 100 };
      const users = { ...creators, ...(other === ALICE ? {} : { [other]: [0, 50, 100, 100][value]! }) };
      return { ...levels({ users, events: { 'm.room.topic': value * 10 } }), sender };
    }
    case 'redact': {
      const ids = [...remote.replay.events.keys()];
      return { type: 'm.room.redaction', sender, content: {}, redacts: ids.at(-1 - (value % ids.length))! };
    }
  }
};

/** Does it. What the rules refuse here stays undone; what they refuse elsewhere is taken in all the same. */
export async function perform(services: EventServices, remote: RemoteRoom, step: ForkStep): Promise<void> {
  const draft = draftOf(remote, step);
  if (step.isLocal || draft.sender.endsWith(`:${SERVER}`)) {
    try {
      // Nobody here may redact what the power levels do not let them: it is refused before there is an event.
      const { redacts, sender } = draft;
      if (redacts === undefined) await services.events.send(remote.room, draft);
      else await services.events.redact(remote.room, sender, redacts, {});
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
    }
    await remote.catchUp();
    return;
  }
  const ids = [...remote.replay.events.keys()].slice(4);
  const prev =
    step.prev.length === 0
      ? remote.replay.extremities
      : [...new Set(step.prev.map((n) => ids.at(-1 - (n % ids.length))!))];
  const auth = step.oldAuth ? remote.build({ ...draft, prev: [ids[0]!] }).pdu.auth_events : undefined;
  const old = auth?.map((reference) => (typeof reference === 'string' ? reference : reference[0]));
  await remote.send({ ...draft, prev, ...(old === undefined ? {} : { auth: old }) });
}
