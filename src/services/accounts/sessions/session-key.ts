import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { link, readFile, unlink } from 'node:fs/promises';
import { writePrivateFile } from '#src/storage/private-files.ts';

export interface SessionKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** A new key that signs access tokens. */
export const makeSessionKey = (): SessionKey => generateKeyPairSync('ed25519');

/**
 * Reads the key that signs access tokens (PEM, PKCS #8), or creates it with mode 0600. Losing it logs all users out; with it and the
 * database one can act as any user. Servers that start at once on one file agree on one key.
 *
 * @param path usually `session.key` in the data directory
 * @throws if the file is there but is no Ed25519 key
 */
export const openSessionKey = async (path: string): Promise<SessionKey> => {
  const read = async (): Promise<string | undefined> => {
    try {
      return await readFile(path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  };
  let pem = await read();
  if (pem === undefined) {
    const made = makeSessionKey().privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    // Written aside and linked into place: the file is never there half written, and the second process finds that of the first.
    const aside = `${path}.${process.pid}.new`;
    await writePrivateFile(aside, made, 'wx');
    await link(aside, path).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    await unlink(aside);
    pem = (await read()) as string;
  }
  const privateKey = createPrivateKey(pem);
  if (privateKey.asymmetricKeyType !== 'ed25519') throw new Error(`${path} holds no Ed25519 key.`);
  return { privateKey, publicKey: createPublicKey(privateKey) };
};
