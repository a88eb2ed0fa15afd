import { readdir } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { join } from 'node:path';
import type { Migration } from '@mikro-orm/migrations';

/** The folder that holds the migrations: at the top of the project, beside `src/`. */
const MIGRATIONS = fileURLToPath(new URL('../../migrations/', import.meta.url));

type MigrationClass = new (...parameters: ConstructorParameters<typeof Migration>) => Migration;

export interface NamedMigration {
  readonly name: string;
  readonly class: MigrationClass;
}

/**
 * The names of all migrations of the folder, in the order of the times in them.
 *
 * @throws if a file is not named `Migration<14 digits>_<what>.ts`
 */
export async function migrationNames(folder: string = MIGRATIONS): Promise<string[]> {
  const files = (await readdir(folder)).filter((file) => file.endsWith('.ts')).sort();
  return files.map((file) => {
    const name = file.slice(0, -'.ts'.length);
    if (!/^Migration\d{14}_[a-z0-9_]+$/.test(name)) {
      throw new Error(`${join(folder, file)}: migrations are named Migration<yyyymmddhhmmss>_<what>.ts`);
    }
    return name;
  });
}

/**
 * Every migration of the folder, in the order of `migrationNames`.
 *
 * @throws as that does, and if a file exports no class of its own name
 */
export async function loadMigrations(folder: string = MIGRATIONS): Promise<NamedMigration[]> {
  return Promise.all(
    (await migrationNames(folder)).map(async (name) => {
      const file = join(folder, `${name}.ts`);
      const exported = (await import(pathToFileURL(file).href)) as Record<string, unknown>;
      const found = exported[name];
      if (typeof found !== 'function') throw new Error(`${file}: exports no class ${name}`);
      return { name, class: found as MigrationClass };
    }),
  );
}
