import { expect } from 'chai';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { compileEventFields } from '#src/protocol/filters/event-fields.ts';
import {
  type FilterableEvent,
  compileEventFilter,
  compileRooms,
  needsRelations,
} from '#src/protocol/filters/event-predicate.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { parseFilter, parseRoomEventFilter } from '#src/protocol/filters/parse-filter.ts';

function errcodeOf(json: unknown): string | undefined {
  try {
    parseFilter(json);
    return undefined;
  } catch (error) {
    if (error instanceof MatrixError) return error.errcode;
    throw error;
  }
}

const event = (members: Partial<FilterableEvent> = {}): FilterableEvent => ({
  type: 'm.room.message',
  sender: '@alice:example.org',
  room_id: '!a:example.org',
  content: {},
  ...members,
});

const takes = (json: unknown, subject: FilterableEvent): boolean =>
  compileEventFilter(parseRoomEventFilter(json))(subject);

describe('parsing filters', () => {
  it('reads every member', () => {
    const filter = parseFilter({
      event_fields: ['type', 'content.body'],
      event_format: 'federation',
      presence: { types: ['m.presence'], not_senders: ['@bob:example.org'] },
      account_data: { limit: 3 },
      room: {
        rooms: ['!a:example.org', '!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM'],
        not_rooms: [],
        include_leave: true,
        timeline: {
          limit: 10,
          contains_url: false,
          lazy_load_members: true,
          include_redundant_members: true,
          unread_thread_notifications: true,
        },
        state: {
          types: ['m.room.*'],
          not_types: ['m.room.member'],
          senders: ['@a:b'],
          rooms: ['!x:y'],
          not_rooms: ['!z:y'],
        },
        ephemeral: { related_by_senders: ['@a:b'], related_by_rel_types: ['m.thread'] },
      },
    });
    const plain = { lazyLoadMembers: false, includeRedundantMembers: false, unreadThreadNotifications: false };
    expect(filter).to.deep.equal({
      eventFields: ['type', 'content.body'],
      eventFormat: 'federation',
      presence: { types: ['m.presence'], notSenders: ['@bob:example.org'] },
      accountData: { limit: 3 },
      room: {
        rooms: ['!a:example.org', '!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM'],
        notRooms: [],
        includeLeave: true,
        timeline: {
          limit: 10,
          containsUrl: false,
          lazyLoadMembers: true,
          includeRedundantMembers: true,
          unreadThreadNotifications: true,
        },
        state: {
          types: ['m.room.*'],
          notTypes: ['m.room.member'],
          senders: ['@a:b'],
          rooms: ['!x:y'],
          notRooms: ['!z:y'],
          ...plain,
        },
        ephemeral: { relatedBySenders: ['@a:b'], relatedByRelTypes: ['m.thread'], ...plain },
        accountData: plain,
      },
    });
  });

  it('ignores members it does not know', () => {
    expect(errcodeOf({ 'org.example.new': 1, room: { timeline: { 'org.example.new': {} } } })).to.equal(undefined);
  });

  const badJson: readonly (readonly [string, unknown])[] = [
    ['a list', []],
    ['a string', 'x'],
    ['null', null],
    ['presence that is a string', { presence: 'not_an_object' }],
    ['account_data that is a list', { account_data: [] }],
    ['room that is a list', { room: [] }],
    ['timeline that is a string', { room: { timeline: 'x' } }],
    ['state that is null', { room: { state: null } }],
    ['ephemeral that is a number', { room: { ephemeral: 1 } }],
    ['room account_data that is true', { room: { account_data: true } }],
    ['types that is a string', { room: { timeline: { types: 'm.room.message' } } }],
    ['types that holds a number', { room: { timeline: { types: [1] } } }],
    ['not_types that holds null', { presence: { not_types: [null] } }],
    ['senders that is an object', { presence: { senders: {} } }],
    ['rooms that is a string', { room: { rooms: '!a:b' } }],
    ['limit that is a string', { room: { timeline: { limit: '10' } } }],
    ['limit with a fraction', { room: { timeline: { limit: 1.5 } } }],
    ['lazy_load_members that is a string', { room: { state: { lazy_load_members: 'true' } } }],
    ['lazy_load_members that is a number', { room: { state: { lazy_load_members: 1 } } }],
    ['include_leave that is a string', { room: { include_leave: 'yes' } }],
    ['contains_url that is null', { room: { timeline: { contains_url: null } } }],
    ['rel_types that is a string', { room: { timeline: { 'org.matrix.msc3874.rel_types': 'm.thread' } } }],
    ['event_fields that is a string', { event_fields: 'type' }],
    ['event_format that is a number', { event_format: 1 }],
  ];
  for (const [name, json] of badJson)
    it(`answers M_BAD_JSON for ${name}`, () => expect(errcodeOf(json)).to.equal('M_BAD_JSON'));

  const invalid: readonly (readonly [string, unknown])[] = [
    ['rooms that are not room ids', { room: { rooms: ['not_a_room_id'] } }],
    ['not_rooms that are not room ids', { room: { not_rooms: ['#alias:example.org'] } }],
    ['timeline rooms that are not room ids', { room: { timeline: { rooms: ['!'] } } }],
    ['senders that are not user ids', { room: { timeline: { senders: ['alice'] } } }],
    ['not_senders that are not user ids', { presence: { not_senders: ['@alice'] } }],
    ['a negative limit', { room: { timeline: { limit: -1 } } }],
    ['an unknown event_format', { event_format: 'raw' }],
  ];
  for (const [name, json] of invalid)
    it(`answers M_INVALID_PARAM for ${name}`, () => expect(errcodeOf(json)).to.equal('M_INVALID_PARAM'));
});

describe('lists of types in filters', () => {
  it('are refused when they have more wildcards than anybody needs', () => {
    const types = Array.from({ length: 3 }, (_, at) => `${'m*'.repeat(40)}${at}`);
    expect(errcodeOf({ room: { timeline: { types } } })).to.equal('M_INVALID_PARAM');
    expect(errcodeOf({ presence: { not_types: types } })).to.equal('M_INVALID_PARAM');
    expect(errcodeOf({ room: { timeline: { types: types.slice(0, 2) } } })).to.equal(undefined);
  });
});

describe('lists in filters', () => {
  const many = (entry: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${entry}${i}`);
  const events: Readonly<Record<string, string>> = {
    types: 'm.type',
    not_types: 'm.type',
    senders: '@a:b',
    not_senders: '@a:b',
  };
  const roomEvents: Readonly<Record<string, string>> = {
    ...events,
    rooms: '!a:b',
    not_rooms: '!a:b',
    related_by_senders: '@a:b',
    related_by_rel_types: 'm.type',
  };

  for (const [name, entry] of Object.entries(roomEvents)) {
    it(`have at most 1000 entries: ${name}`, () => {
      const places = [
        ...['timeline', 'state', 'ephemeral', 'account_data'].map((part) => (list: string[]) => ({
          room: { [part]: { [name]: list } },
        })),
        ...(name in events ? [(list: string[]) => ({ presence: { [name]: list } })] : []),
        ...(name in events ? [(list: string[]) => ({ account_data: { [name]: list } })] : []),
        ...(name.endsWith('rooms') ? [(list: string[]) => ({ room: { [name]: list } })] : []),
      ];
      for (const place of places) {
        expect(errcodeOf(place(many(entry, 1_000)))).to.equal(undefined);
        expect(errcodeOf(place(many(entry, 1_001)))).to.equal('M_INVALID_PARAM');
      }
      expect(() => parseRoomEventFilter({ [name]: many(entry, 1_001) })).to.throw(
        MatrixError,
        'more than 1000 entries',
      );
    });
  }

  it('have at most 500 entries: event_fields', () => {
    expect(errcodeOf({ event_fields: many('content.f', 500) })).to.equal(undefined);
    expect(errcodeOf({ event_fields: many('content.f', 501) })).to.equal('M_INVALID_PARAM');
  });
});

describe('applying filters', () => {
  it('takes everything where nothing is said', () => {
    expect(takes({}, event())).to.equal(true);
  });

  it('selects by types with asterisks, which alone are wildcards', () => {
    expect(takes({ types: ['m.room.*'] }, event())).to.equal(true);
    expect(takes({ types: ['m.*.message'] }, event())).to.equal(true);
    expect(takes({ types: ['m.room.member'] }, event())).to.equal(false);
    expect(takes({ types: ['m.room.messag?'] }, event())).to.equal(false);
    expect(takes({ types: [] }, event())).to.equal(false);
    expect(takes({ types: ['*'], not_types: ['m.room.message'] }, event())).to.equal(false);
    expect(takes({ not_types: ['*'] }, event())).to.equal(false);
    expect(takes({ not_types: [] }, event())).to.equal(true);
  });

  it('selects by senders and rooms, exclusion first', () => {
    expect(takes({ senders: ['@alice:example.org'] }, event())).to.equal(true);
    expect(takes({ senders: ['@alice:example.org'], not_senders: ['@alice:example.org'] }, event())).to.equal(false);
    expect(takes({ senders: [] }, event())).to.equal(false);
    expect(takes({ rooms: ['!b:example.org'] }, event())).to.equal(false);
    expect(takes({ rooms: ['!a:example.org'], not_rooms: ['!a:example.org'] }, event())).to.equal(false);
    const wanted = compileRooms(parseFilter({ room: { rooms: ['!a:x', '!b:x'], not_rooms: ['!b:x'] } }).room);
    expect(['!a:x', '!b:x', '!c:x'].filter(wanted)).to.deep.equal(['!a:x']);
  });

  it('selects by the url of the content', () => {
    expect(takes({ contains_url: true }, event({ content: { url: 'mxc://x/y' } }))).to.equal(true);
    expect(takes({ contains_url: true }, event())).to.equal(false);
    expect(takes({ contains_url: false }, event({ content: { url: 'mxc://x/y' } }))).to.equal(false);
    expect(takes({ contains_url: false }, event())).to.equal(true);
  });

  it('selects by how an event relates to another one, whatever stands there', () => {
    const related = (relation: unknown): FilterableEvent => event({ content: { 'm.relates_to': relation } });
    const threads = { 'org.matrix.msc3874.rel_types': ['m.thread'] };
    const others = { 'org.matrix.msc3874.not_rel_types': ['m.thread'] };
    expect(takes(threads, related({ rel_type: 'm.thread' }))).to.equal(true);
    expect(takes(others, related({ rel_type: 'm.thread' }))).to.equal(false);
    for (const strange of [undefined, null, 'm.thread', ['m.thread'], { rel_type: ['m.thread'] }, {}]) {
      expect(takes(threads, related(strange))).to.equal(false);
      expect(takes(others, related(strange))).to.equal(true);
    }
  });

  it('selects by relations, one of which must have both sender and type', () => {
    const filter = parseRoomEventFilter({ related_by_senders: ['@a:x'], related_by_rel_types: ['m.thread'] });
    const matches = compileEventFilter(filter);
    expect(needsRelations(filter)).to.equal(true);
    expect(needsRelations(parseRoomEventFilter({}))).to.equal(false);
    expect(matches(event())).to.equal(false);
    expect(matches(event(), [{ sender: '@a:x', relType: 'm.thread' }])).to.equal(true);
    expect(
      matches(event(), [
        { sender: '@a:x', relType: 'm.annotation' },
        { sender: '@b:x', relType: 'm.thread' },
      ]),
    ).to.equal(false);
  });

  it('goes through a long list of wildcards once for each type of event, not for each event', () => {
    const types = Array.from({ length: 19 }, (_, at) => `*${'m*'.repeat(4)}${at}`);
    const budget = new StepBudget(1e9);
    const accepts = compileEventFilter(parseRoomEventFilter({ types }), budget);
    for (let i = 0; i < 3; i++) accepts({ type: `m.room.member${i}`, content: {} });
    const { left } = budget;
    expect(left).to.be.below(1e9);
    for (let i = 0; i < 300; i++) accepts({ type: `m.room.member${i % 3}`, content: {} });
    expect(budget.left).to.equal(left);
  });
});

describe('event_fields', () => {
  const source = {
    type: 'm.room.message',
    sender: '@a:x',
    content: { body: 'b', 'm.relates_to': { rel_type: 'm.thread', x: 1 }, n: 1 },
  };

  it('keep only the members asked for', () => {
    expect(compileEventFields(['type', 'content.body', 'content.m\\.relates_to.rel_type'])(source)).to.deep.equal({
      type: 'm.room.message',
      content: { body: 'b', 'm.relates_to': { rel_type: 'm.thread' } },
    });
    expect(compileEventFields(['content', 'content.body'])(source)).to.deep.equal({ content: source.content });
    expect(compileEventFields(['nope', 'content.nope', 'content.body.x'])(source)).to.deep.equal({});
    expect(compileEventFields([])(source)).to.deep.equal({});
  });

  it('cost events with few members nothing, however many there are', () => {
    const fields = Array.from({ length: 100_000 }, (_, i) => `f${i}`);
    const pick = compileEventFields([...fields, 'type', 'content.body']);
    let looks = 0;
    const watched = new Proxy(source, {
      getOwnPropertyDescriptor: (target, name) => {
        looks += 1;
        return Reflect.getOwnPropertyDescriptor(target, name);
      },
    });
    expect(pick(watched)).to.deep.equal({ type: 'm.room.message', content: { body: 'b' } });
    expect(looks).to.be.at.most(10);
  });

  it('cannot be used to reach a prototype', () => {
    const hostile = JSON.parse('{"__proto__":{"polluted":1},"type":"x"}') as Record<string, unknown>;
    const picked = compileEventFields(['__proto__.polluted', 'constructor.name'])(hostile);
    expect(Object.keys(picked)).to.deep.equal(['__proto__']);
    expect(({} as Record<string, unknown>)['polluted']).to.equal(undefined);
  });
});
