import type { Person } from './people.ts';
import { type Answer, type HttpConnection, requestText } from './http.ts';
import { UnexpectedAnswer } from './people.ts';

const PATH = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';

/** What a modern client asks for: a window on its rooms, and everything beside them. */
export const slidingBody = (window: number, connId = 'room-list'): object => ({
  conn_id: connId,
  lists: {
    all_rooms: {
      ranges: [[0, window - 1]],
      timeline_limit: 1,
      required_state: [
        ['m.room.name', ''],
        ['m.room.encryption', ''],
        ['m.room.member', '$LAZY'],
        ['m.room.member', '$ME'],
        ['m.room.topic', ''],
        ['m.room.avatar', ''],
        ['m.room.canonical_alias', ''],
        ['m.room.power_levels', ''],
        ['m.space.parent', '*'],
        ['m.space.child', '*'],
      ],
      filters: { not_room_types: ['m.space'] },
    },
  },
  extensions: {
    account_data: { enabled: true },
    receipts: { enabled: true },
    typing: { enabled: true },
    to_device: { enabled: true },
    e2ee: { enabled: true },
  },
});

const POS = Buffer.from('"pos":"');

/** The position out of an answer's body, without parsing the rest of it. */
const posIn = (body: Buffer): string => {
  const from = body.indexOf(POS) + POS.length;
  return body.toString('utf8', from, body.indexOf(0x22, from));
};

/** One connection of sliding sync. */
export class SlidingClient {
  readonly #connection: HttpConnection;
  readonly #person: Person;
  readonly #body: object;
  #pos: string | undefined;

  constructor(connection: HttpConnection, person: Person, body: object) {
    this.#connection = connection;
    this.#person = person;
    this.#body = body;
  }

  /** Begins anew with the next request. */
  reset(): void {
    this.#pos = undefined;
  }

  async poll(timeoutMs: number): Promise<Answer> {
    const pos = this.#pos === undefined ? '' : `&pos=${encodeURIComponent(this.#pos)}`;
    const path = `${PATH}?set_presence=offline&timeout=${timeoutMs}${pos}`;
    const answer = await this.#connection.send(requestText('POST', path, this.#person.token, this.#body));
    if (answer.status !== 200) throw new UnexpectedAnswer('sliding sync', answer);
    this.#pos = posIn(answer.body);
    return answer;
  }
}
