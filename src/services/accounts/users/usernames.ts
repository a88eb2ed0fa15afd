import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isCompliantUserId, newUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';

export interface LocalName {
  readonly userId: string;
  readonly localpart: string;
}

/** ASCII only: other letters are in no localpart, and U+212A would become a k. */
const foldCapitals = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

/**
 * The account that a request asks for under `username`: capitals are folded, everything else must be in the grammar of localparts.
 * A full user id of this server is accepted too. Appendices, "User Identifiers".
 *
 * @throws MatrixError M_INVALID_USERNAME
 */
export const nameOfNewAccount = (username: string, serverName: string): LocalName => {
  const full = username.startsWith('@') && domainOf(username) === serverName;
  const localpart = foldCapitals(full ? username.slice(1, -serverName.length - 1) : username);
  const userId = newUserId(localpart, serverName);
  if (userId === undefined) {
    throw new MatrixError(
      'M_INVALID_USERNAME',
      localpart === '' || localpart.length > 200
        ? 'A username must have at least one character, and the whole user id at most 255.'
        : 'A username may only hold the characters a-z, 0-9, and . _ = - / +',
    );
  }
  return { userId, localpart };
};

/**
 * The account that an application service asks for: as it is written, since its namespaces are, and in the grammar of old user ids, which
 * bridges have many of. Appendices, "Historical User IDs".
 *
 * @throws MatrixError M_INVALID_USERNAME
 */
export const nameOfAppserviceUser = (username: string, serverName: string): LocalName => {
  const full = username.startsWith('@') && domainOf(username) === serverName;
  const localpart = full ? username.slice(1, -serverName.length - 1) : username;
  const userId = `@${localpart}:${serverName}`;
  if (!isCompliantUserId(userId) || localpart.includes(':'))
    throw new MatrixError(
      'M_INVALID_USERNAME',
      'A username has at least one of the printable ASCII characters but the colon, and the whole user id at most 255.',
    );
  return { userId, localpart };
};

/**
 * The user ids that `user` may stand for where a client authenticates: as written, then with capitals folded (accounts carried over
 * from other software may have capitals). Empty when it is a user of another server.
 */
export const candidateUserIds = (user: string, serverName: string): readonly string[] => {
  if (user.includes('\0')) return [];
  const userId = user.startsWith('@') && user.includes(':') ? user : `@${user}:${serverName}`;
  if (domainOf(userId) !== serverName) return [];
  const folded = `${foldCapitals(userId.slice(0, -serverName.length - 1))}:${serverName}`;
  return folded === userId ? [userId] : [userId, folded];
};
