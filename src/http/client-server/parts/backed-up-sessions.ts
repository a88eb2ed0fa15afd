import { Readable } from 'node:stream';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { SessionText } from '#src/services/e2ee/key-backup/key-backup-service.ts';
import { Reply } from '../../endpoint.ts';

type Pages = AsyncGenerator<readonly SessionText[], void, undefined>;

/** Pieces of an answer that is sent at once: those of one page. */
const FEW = 2;

/** JSON in pieces: a text where they are few, else a stream that is read as the client takes it. @throws what the first pieces fail with */
const answerOf = async (pieces: AsyncGenerator<string, void, undefined>): Promise<Reply> => {
  let begin = '';
  for (let count = 0; count <= FEW; count += 1) {
    const { done, value } = await pieces.next();
    if (done === true) return new Reply({ json: begin });
    begin += value;
  }
  async function* all(): AsyncGenerator<string, void, undefined> {
    yield begin;
    yield* pieces;
  }
  return new Reply({ stream: Readable.from(all(), { objectMode: false }) });
};

/** A piece for each page, and one for the end. */
async function* piecesOf(
  pages: Pages,
  begin: string,
  textOf: (session: SessionText) => string,
  end: () => string,
): AsyncGenerator<string, void, undefined> {
  let piece = begin;
  for await (const page of pages) {
    for (const session of page) piece += textOf(session);
    yield piece;
    piece = '';
  }
  yield end();
}

const memberText = ({ sessionId, json }: SessionText): string => `${JSON.stringify(sessionId)}:${json}`;

/** The sessions of one room, as `{"sessions": {}}`; none where nothing of the room is in the backup. */
export const roomSessions = (pages: Pages): Promise<Reply> => {
  let separator = '';
  const textOf = (session: SessionText): string => {
    const text = separator + memberText(session);
    separator = ',';
    return text;
  };
  return answerOf(piecesOf(pages, '{"sessions":{', textOf, () => '}}'));
};

/** The sessions of all rooms, which come room by room, as `{"rooms": {}}`. */
export const sessionsByRoom = (pages: Pages): Promise<Reply> => {
  let room: string | undefined;
  const textOf = (session: SessionText): string => {
    if (session.roomId === room) return `,${memberText(session)}`;
    const before = room === undefined ? '' : '}},';
    room = session.roomId;
    return `${before}${JSON.stringify(room)}:{"sessions":{${memberText(session)}`;
  };
  return answerOf(piecesOf(pages, '{"rooms":{', textOf, () => (room === undefined ? '}}' : '}}}}')));
};

/** One session. @throws MatrixError M_NOT_FOUND when it is not in the backup */
export const oneSession = async (pages: Pages): Promise<Reply> => {
  for await (const [session] of pages) if (session !== undefined) return new Reply({ json: session.json });
  throw new MatrixError('M_NOT_FOUND', 'This session is not in the backup.');
};
