import { glob, readFile } from 'node:fs/promises';
import type { RegistrationFile } from '#src/services/accounts/appservices/appservices.ts';

/**
 * Reads the registrations of application services.
 *
 * @param patterns files, and patterns with `*` and `**`; a file that several of them name is read once
 * @throws Error when a file cannot be read, or is not there
 */
export async function readAppserviceFiles(patterns: readonly string[]): Promise<readonly RegistrationFile[]> {
  const paths = new Set<string>();
  for (const pattern of patterns) {
    const found: string[] = [];
    if (/[*?[{]/.test(pattern)) for await (const path of glob(pattern)) found.push(path);
    else found.push(pattern);
    for (const path of found.sort()) paths.add(path);
  }
  return Promise.all(
    [...paths].map(async (path) => ({
      path,
      text: await readFile(path, 'utf8').catch((error: unknown) => {
        throw new Error(`${path} of appservices.files cannot be read: ${(error as Error).message}`, { cause: error });
      }),
    })),
  );
}
