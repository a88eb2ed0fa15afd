import {
  BatchTable,
  type Column,
  bigint,
  bigints,
  boolean,
  bytea,
  int,
  json,
  smallint,
  text,
  uuid,
} from '../batch-statement.ts';
import type {
  AliasRow,
  AwaitedRedactionRow,
  EventBatch,
  EventRow,
  EventWrite,
  JobRow,
  MemberRow,
  MentionRow,
  MissingPrevRow,
  NewRoomRow,
  PartialRoomRow,
  RebasedDeltaRow,
  RedactionRow,
  RejectionRow,
  LateEventRow,
  RevivalRow,
  RoomTailRow,
  SentDelayedRow,
  StateDeltaRow,
  StateResetRow,
  StickyRow,
  TxnRow,
} from './event-rows.ts';

// The tables and columns that a batch of events writes: each is declared here, and nowhere else.

const rowsOf =
  <Row>(rows: (write: EventWrite) => readonly Row[] | undefined) =>
  (batch: EventBatch): readonly Row[] =>
    batch.writes.flatMap((write) => rows(write) ?? []);

/** The id of what an event relates to, where the position is not known. */
const relatedId = ({ rel }: EventRow): Buffer | undefined => (typeof rel === 'number' ? undefined : rel);

/** Columns of `events`, for the statements that write events. */
export const EVENT_COLUMNS = {
  room: int((event) => event.room),
  nid: bigint((event) => event.nid),
  topo: bigint((event) => event.topo),
  event_id: bytea((event) => event.eventId),
  type: int((event) => event.type),
  skey: int((event) => event.skey),
  sender: int((event) => event.sender),
  ts: bigint((event) => event.pdu.origin_server_ts),
  state: bigint((event) => event.state),
  prev: bigints((event) => event.prev),
  auth: bigints((event) => event.auth),
  rel: {
    ...bigint(({ rel }) => (typeof rel === 'number' ? rel : null)),
    // Looked up for relations only, and by the id: where a table has no statistics yet, the index of the room would be read whole for each event.
    expression: (row: string) =>
      `case when ${row}.rel_id is null then ${row}.rel else (select t.nid from events t where t.event_id = ${row}.rel_id and t.room + 0 = ${row}.room) end`,
  },
  rel_id: { ...bytea(relatedId), isArgument: true },
  rel_type: int((event) => event.relType),
  flags: int((event) => event.flags),
  json: text((event) => event.json),
  replaces: bigint((event) => event.replaces),
  current_state: bigint((event) => event.currentState),
  delay_id: text((event) => event.delayId),
  sent_by: text((event) => event.sentBy),
  annotation: bigint((event) => event.annotation),
} satisfies Readonly<Record<string, Column<EventRow>>>;

export const EVENTS = BatchTable.declare<EventBatch, EventRow>({
  name: 'events',
  rows: rowsOf((write) => write.events),
  columns: EVENT_COLUMNS,
});

export const TAILS = BatchTable.declare<EventBatch, RoomTailRow>({
  name: 'room_tail',
  rows: rowsOf((write) => write.tails),
  key: (tail) => tail.room,
  columns: {
    room: int((tail) => tail.room),
    extremities: bigints((tail) => tail.extremities),
    state: bigint((tail) => tail.state),
    depth: bigint((tail) => tail.depth),
    last_pos: bigint((tail) => tail.lastPos),
  },
});

export const TXNS = BatchTable.declare<EventBatch, TxnRow>({
  name: 'txn',
  rows: rowsOf((write) => write.txns),
  columns: {
    key: uuid((txn) => txn.key),
    event_id: text((txn) => txn.eventId),
    day: int((txn) => txn.day),
  },
});

export const MENTIONS = BatchTable.declare<EventBatch, MentionRow>({
  name: 'mention',
  rows: rowsOf((write) => write.mentions),
  columns: {
    user_nid: int((mention) => mention.user),
    room: int((mention) => mention.room),
    pos: bigint((mention) => mention.pos),
    thread: bigint((mention) => mention.thread),
    kind: smallint((mention) => mention.kind),
  },
});

/** Columns of `state_delta`. */
export const DELTA_COLUMNS = {
  nid: bigint((delta) => delta.nid),
  room: int((delta) => delta.room),
  seq: int((delta) => delta.seq),
  chain: bytea((delta) => delta.chain),
  others: bytea((delta) => delta.others),
  members: bytea((delta) => delta.members),
} satisfies Readonly<Record<string, Column<StateDeltaRow>>>;

export const DELTAS = BatchTable.declare<EventBatch, StateDeltaRow>({
  name: 'state_delta',
  rows: rowsOf((write) => write.deltas),
  columns: DELTA_COLUMNS,
});

export const MEMBERS = BatchTable.declare<EventBatch, MemberRow>({
  name: 'member',
  rows: rowsOf((write) => write.members),
  key: (member) => `${member.room} ${member.user}`,
  columns: {
    room: int((member) => member.room),
    user_nid: int((member) => member.user),
    membership: smallint((member) => member.membership),
    event: bigint((member) => member.event),
    since: bigint((member) => member.since),
    local: boolean((member) => member.local),
  },
});

export const ROOMS = BatchTable.declare<EventBatch, NewRoomRow>({
  name: 'rooms',
  rows: rowsOf((write) => write.rooms),
  columns: {
    nid: int((room) => room.nid),
    room_id: text((room) => room.roomId),
    version: text((room) => room.version),
    shard: smallint((room) => room.shard),
    creator: int((room) => room.creator),
    room_type: text((room) => room.roomType),
    is_public: boolean((room) => room.isPublic),
    created_ts: bigint((room) => room.createdTs),
  },
});

export const ALIASES = BatchTable.declare<EventBatch, AliasRow>({
  name: 'aliases',
  rows: rowsOf((write) => write.aliases),
  columns: {
    alias: text((alias) => alias.alias),
    room: int((alias) => alias.room),
    creator: text((alias) => alias.creator),
    created_ts: bigint((alias) => alias.createdTs),
  },
});

export const REDACTIONS = BatchTable.declare<EventBatch, RedactionRow>({
  name: 'events',
  rows: rowsOf((write) => write.redactions),
  key: (redaction) => redaction.nid,
  columns: {
    room: int((redaction) => redaction.room),
    nid: bigint((redaction) => redaction.nid),
    redacted_by: bigint((redaction) => redaction.redactedBy),
    json: text((redaction) => redaction.json),
  },
});

export const SENT_DELAYED = BatchTable.declare<EventBatch, SentDelayedRow>({
  name: 'delayed_events',
  rows: rowsOf((write) => write.sentDelayed),
  columns: {
    delay_id: text((sent) => sent.delayId),
    event_id: text((sent) => sent.eventId),
    finalised_ts: bigint((sent) => sent.sentTs),
  },
});

/** Columns of `awaited_relations`, of the event that relates to another. */
export const AWAITED_RELATION_COLUMNS = {
  room: EVENT_COLUMNS.room,
  target: bytea(relatedId),
  child: EVENT_COLUMNS.nid,
} satisfies Readonly<Record<string, Column<EventRow>>>;

/** Events that relate to what is not in memory: it may not be here yet. */
export const RELATING = BatchTable.declare<EventBatch, EventRow>({
  name: 'awaited_relations',
  rows: rowsOf((write) => write.events.filter(({ rel }) => typeof rel === 'object')),
  columns: AWAITED_RELATION_COLUMNS,
});

/** Events that earlier ones may relate to: nothing knows the id of an event before it is made. */
export const ARRIVING = BatchTable.declare<EventBatch, EventRow>({
  name: 'awaited_relations',
  rows: rowsOf((write) => (write.isReceived === true ? write.events : [])),
  columns: {
    room: EVENT_COLUMNS.room,
    target: EVENT_COLUMNS.event_id,
    nid: EVENT_COLUMNS.nid,
  },
});

export const STICKIES = BatchTable.declare<EventBatch, StickyRow>({
  name: 'sticky_events',
  rows: rowsOf((write) => write.stickies),
  columns: {
    room: int((sticky) => sticky.room),
    event: bigint((sticky) => sticky.event),
    pos: bigint((sticky) => sticky.pos),
    expires: bigint((sticky) => sticky.expires),
  },
});

export const REVIVALS = BatchTable.declare<EventBatch, RevivalRow>({
  name: 'sticky_events',
  rows: rowsOf((write) => write.revivals),
  columns: {
    room: int((revival) => revival.room),
    event: bigint((revival) => revival.event),
    pos: bigint((revival) => revival.pos),
  },
});

/** Due at once, as if they had never been tried. */
export const LATE_EVENTS = BatchTable.declare<EventBatch, LateEventRow>({
  name: 'events_set_aside',
  rows: rowsOf((write) => write.late),
  key: ({ event, follower }) => `${event} ${follower}`,
  columns: {
    follower: text((late) => late.follower),
    event: bigint((late) => late.event),
    room: int((late) => late.room),
    tries: smallint(() => 0),
    retry_at: bigint(() => 0),
  },
});

/** Columns of `missing_prev`. */
export const MISSING_PREV_COLUMNS = {
  room: int((missing) => missing.room),
  event_id: bytea((missing) => missing.eventId),
  referrer: bigint((missing) => missing.referrer),
} satisfies Readonly<Record<string, Column<MissingPrevRow>>>;

/** Backward extremities. */
export const MISSING = BatchTable.declare<EventBatch, MissingPrevRow>({
  name: 'missing_prev',
  rows: rowsOf((write) => write.missing),
  columns: MISSING_PREV_COLUMNS,
});

export const RESETS = BatchTable.declare<EventBatch, StateResetRow>({
  name: 'state_resets',
  rows: rowsOf((write) => write.resets),
  columns: {
    room: int((reset) => reset.room),
    event: bigint((reset) => reset.event),
    ts: bigint((reset) => reset.ts),
    members: int((reset) => reset.members),
    power: boolean((reset) => reset.power),
    example: text((reset) => reset.example),
  },
});

/** Columns of `awaited_redactions`. */
export const AWAITED_REDACTION_COLUMNS = {
  room: int((awaited) => awaited.room),
  target: bytea((awaited) => awaited.target),
  redaction: bigint((awaited) => awaited.redaction),
} satisfies Readonly<Record<string, Column<AwaitedRedactionRow>>>;

export const AWAITED_REDACTIONS = BatchTable.declare<EventBatch, AwaitedRedactionRow>({
  name: 'awaited_redactions',
  rows: rowsOf((write) => write.awaitedRedactions),
  columns: AWAITED_REDACTION_COLUMNS,
});

/** Columns of `outbox`. */
export const JOB_COLUMNS = {
  job: text((job) => job.job),
  payload: json((job) => JSON.stringify(job.payload)),
  created_ts: bigint((job) => job.createdTs),
} satisfies Readonly<Record<string, Column<JobRow>>>;

export const PARTIALS = BatchTable.declare<EventBatch, PartialRoomRow>({
  name: 'partial_rooms',
  rows: rowsOf((write) => write.partials),
  key: (partial) => partial.room,
  columns: {
    room: int((partial) => partial.room),
    state: bigint((partial) => partial.state),
    join_pos: bigint((partial) => partial.join),
    via: text((partial) => partial.via),
    servers: text((partial) => partial.servers),
    before: text((partial) => partial.before),
    full_pos: bigint((partial) => partial.fullPos),
  },
});

export const REBASED = BatchTable.declare<EventBatch, RebasedDeltaRow>({
  name: 'state_delta',
  rows: rowsOf((write) => write.rebased),
  columns: {
    nid: bigint((delta) => delta.nid),
    others: bytea((delta) => delta.others),
    members: bytea((delta) => delta.members),
  },
});

export const REJECTIONS = BatchTable.declare<EventBatch, RejectionRow>({
  name: 'events',
  rows: rowsOf((write) => write.rejections),
  columns: { room: int((rejection) => rejection.room), nid: bigint((rejection) => rejection.nid) },
});

export const JOBS = BatchTable.declare<EventBatch, JobRow>({
  name: 'outbox',
  rows: rowsOf((write) => write.jobs),
  columns: JOB_COLUMNS,
});
