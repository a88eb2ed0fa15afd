/** Bounds that cannot be configured on what other servers, application services, administrators and answers to our own requests can cause. */
export const FIXED_OF_OTHERS: readonly (readonly [what: string, most: string, answer: string])[] = [
  // Other servers.
  [
    'a transaction of another server',
    '50 events and 100 EDUs in 8 MiB; `tsudoi_federation_received_events_total{outcome}`',
    '400 `M_BAD_JSON`, 413 `M_TOO_LARGE`',
  ],
  [
    'transactions of one server whose events are judged, or whose EDUs are processed, at once, and servers that are asked for keys for each',
    '2, 8',
    'they wait',
  ],
  [
    'events of one server that wait for their rooms',
    '5000, of them 1000 for one room; those in memory take 32 MiB; `tsudoi_federation_waiting_events`',
    '429 `M_LIMIT_EXCEEDED`: it sends the transaction again; an error for the event where its room is slowed (`rate_limits.remote_state_bytes`)',
  ],
  [
    'rooms whose events are received at once, and events of each until it is the turn of another',
    '4, 100',
    'they wait',
  ],
  [
    'events for which others are asked for what is missing at once',
    '64, of them 4 of one server; each for 5 minutes, in 4 rounds of 50, 150 events in all; `tsudoi_federation_gap_seconds`',
    'the event is accepted by the state that its neighbours tell, or is not',
  ],
  ['states that are fetched whole at once', '2, of 128 MiB', 'they wait; more is not read'],
  [
    'keys of servers',
    '40000 servers, 64 keys of each; 64 are asked at once and 2000 wait; 64 KiB of an answer; one that failed is asked again after 30 s to an hour',
    '401 `M_UNAUTHORIZED` for requests, and events are not accepted',
  ],
  ['signatures of a request or an event that are looked at', '8', 'the others do not count'],
  ['receipts, and users of presence, of one transaction that are looked at', '1000, 1000', 'the others are dropped'],
  [
    'answers to transactions that are kept in memory for those that come again',
    '8 MiB; errors of 500 characters',
    'they are read from the database',
  ],
  [
    'bodies of transactions that are under way to other servers',
    '64 MiB together, 1/16 of what is left for one server; 4 MiB for one, 16 are put together at once; `tsudoi_federation_outbound_bytes`',
    'fewer events go into one; the server waits a second',
  ],
  [
    'how often a transaction for a server is put together in vain',
    '3 times; `tsudoi_follower_given_up_total{follower}`',
    'the event or EDU of which none can be made is not sent, and an error is logged',
  ],
  ['devices of a remote user', '2000', 'the others are dropped'],
  ['invites of other servers that wait for one user', '1000', '429 `M_LIMIT_EXCEEDED`'],
  [
    'an answer to /backfill, /get_missing_events',
    '100 events, 20 events; 4 MiB; 50 ends to begin from',
    'less than was asked for',
  ],
  ['servers and keys of one question to this server as a notary', '200, 50', '413 `M_TOO_LARGE`'],
  // Answers to our own requests.
  [
    'an answer of another server',
    '1 MiB; keys 1 MiB for each user and 4 MiB, events of a room 16 MiB, a state 128 MiB, spaces and directories 4 MiB, errors 64 KiB; one JSON value for 16 bytes; `tsudoi_federation_request_seconds{outcome}`',
    'it counts as none',
  ],
  [
    'bytes of answers of other servers that are in memory (but states of rooms, which are few at once), and of these for one user or server',
    '64 MiB, 32 MiB and half of what the others leave; answers up to 16 KiB are not counted; `tsudoi_federation_answer_bytes`, `tsudoi_federation_answers_waiting`',
    'they are read when there is room, or their time is over',
  ],
  [
    'servers that one request for keys asks at once, and bytes of their answers with 32 for each value',
    '500, 16 at once; 16 MiB',
    '413 `M_TOO_LARGE`; the others stand in `failures`',
  ],
  ['what robots.txt says of sites of which previews are made', '64 KiB of each, 500 sites', 'it is asked for again'],
  ['pieces of an answer of another server', '256, and one more for every 64 bytes', 'it is not read'],
  [
    'requests of other servers of 256 KiB and more whose signatures are verified at once, on a thread',
    '2; networks take turns, those from which a server has proved itself go first, and 50 of one may wait',
    '429 `M_LIMIT_EXCEEDED`: it sends the request again',
  ],
  [
    'JSON that is parsed in one turn of the event loop',
    '256 KiB; larger bodies and answers of other servers in parts of 32 KiB',
    'they take longer',
  ],
  [
    'time for an answer of another server',
    '90 s in all, 60 s until it begins; memberships 30 s; a join 10 minutes; names 4 s, keys 20 s',
    'it counts as not reached, and is left alone for up to an hour',
  ],
  [
    'answers with the state of a room of more than 4 MiB that are read at once',
    '4, of them 1 of one server; no slower than 32768 bytes a second after 30 s, and not when more than 8 MiB and half of it are useless',
    'they wait; 502 `M_CONNECTION_FAILED`, and for a minute to an hour the server is not asked for such answers',
  ],
  [
    'pages of history that are read at once, and for which other servers are asked at once',
    '4, 16, of these 4 for one user; users take turns, and 500 and 50 of one may wait; a page waits 10 s for others, and asks one more every 3 s',
    '429 `M_LIMIT_EXCEEDED`; the page shows what is here',
  ],
  [
    'hosts that are asked for /.well-known/matrix/server at once',
    '128, of them 16 for one user; those for whom they are asked take turns; 10 s in all',
    'they wait; it counts as none',
  ],
  ['requests to other servers that wait for their turn', '8192', 'the newest fail'],
  ['redirects of a file, and of /.well-known', '3, 10', 'it counts as none'],
  ['answers of push gateways, captchas and moderation tools', '64 KiB', 'they count as none'],
  ['answers of identity servers', '128 KiB', 'they count as none'],
  ['lines of a mail server', '64 KiB', 'the mail is tried again'],
  // Application services.
  [
    'a transaction for an application service',
    '100 events of 2000000 characters, 100 messages for devices, 1000 receipts; 90 s for its answer',
    'the rest comes with the next one; the pause after a failure doubles up to 5 minutes',
  ],
  ['answers of application services about networks', '100 entries, 256 KiB in 8 s', 'the others are left out'],
  // Administration.
  ['tasks of administrators that are not done', '1000', '429 `M_LIMIT_EXCEEDED`'],
  ['users, rooms and entries of one page of administrators', '1000', 'less than was asked for'],
];
