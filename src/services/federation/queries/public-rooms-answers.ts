import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { PublicRooms, PublicRoomsPage, PublicRoomsQuery } from '#src/services/rooms/directory/public-rooms.ts';

/** Lists this server's public rooms for other servers. Server-Server API, "Published Room Directory". */
export class PublicRoomsAnswers {
  readonly #publicRooms: PublicRooms;
  readonly #isOpen: boolean;

  /** @param options.isOpen whether the list is shown to other servers */
  constructor(options: { readonly publicRooms: PublicRooms; readonly isOpen: boolean }) {
    this.#publicRooms = options.publicRooms;
    this.#isOpen = options.isOpen;
  }

  /** "just those listed on the receiving homeserver's directory". @throws MatrixError M_FORBIDDEN where it is not shown, M_INVALID_PARAM */
  async list(query: Omit<PublicRoomsQuery, 'server'>): Promise<PublicRoomsPage> {
    if (!this.#isOpen)
      throw new MatrixError('M_FORBIDDEN', 'This server does not show its public rooms to other servers.');
    return this.#publicRooms.list(query);
  }
}
