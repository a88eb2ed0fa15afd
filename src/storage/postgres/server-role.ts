import pg from 'pg';

/** What the server connects as: it owns its databases and what lies in them, and may do nothing beside that. */
export const SERVER_ROLE = 'tsudoi_server';

/** Objects that belong to the role that runs this, as statements that give them to the role. What PostgreSQL came with stays as it is. */
const HAND_OVER = `
  with mine as (
    select oid as namespace, nspname, nspowner from pg_namespace where nspname !~ '^pg_' and nspname <> 'information_schema'
  ), me as (select oid from pg_roles where rolname = current_user)
  select format('alter schema %I owner to ${SERVER_ROLE}', nspname) as statement from mine where nspowner = (select oid from me)
  union all
  select format('alter %s %s owner to ${SERVER_ROLE}',
      case relkind when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'materialized view' else 'table' end, c.oid::regclass)
    from pg_class c join mine on namespace = relnamespace
    where relowner = (select oid from me) and relkind in ('r', 'p', 'v', 'm', 'S')
      -- The sequence of a column goes with its table.
      and not exists (select from pg_depend d where d.objid = c.oid and d.classid = 'pg_class'::regclass and deptype in ('a', 'i'))
  union all
  select format('alter routine %s owner to ${SERVER_ROLE}', p.oid::regprocedure)
    from pg_proc p join mine on namespace = pronamespace where proowner = (select oid from me)
  union all
  select format('alter type %s owner to ${SERVER_ROLE}', t.oid::regtype)
    from pg_type t join mine on namespace = typnamespace where typowner = (select oid from me) and typtype in ('e', 'd', 'r')
  union all
  select format('alter database %I owner to ${SERVER_ROLE}', datname)
    from pg_database where datname = current_database() and datdba = (select oid from me)
`;

/** Runs `work` on a connection of its own. */
const connected = async <T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> => {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
};

/**
 * Makes the role that the server connects as. An injection of SQL would else be a shell: superusers run programs and read files.
 *
 * @param url of a superuser
 */
export const makeServerRole = (url: string, password: string): Promise<void> =>
  connected(url, async (client) => {
    const found = await client.query('select 1 from pg_roles where rolname = $1', [SERVER_ROLE]);
    const verb = found.rowCount === 0 ? 'create' : 'alter';
    await client.query(
      `${verb} role ${SERVER_ROLE} with login nosuperuser nocreatedb nocreaterole noreplication nobypassrls
         password ${client.escapeLiteral(password)}`,
    );
  });

/**
 * Makes a database that belongs to the role unless it is there, and gives it what belongs to the superuser in it.
 *
 * @param urlOf of a superuser, for each database
 */
export const makeServerDatabase = async (urlOf: (database: string) => string, name: string): Promise<void> => {
  await connected(urlOf('postgres'), async (client) => {
    const found = await client.query('select 1 from pg_database where datname = $1', [name]);
    if (found.rowCount === 0)
      await client.query(`create database ${client.escapeIdentifier(name)} owner ${SERVER_ROLE}`);
  });
  // It may have been made by a server that was a superuser there, or a superuser may have put a backup back.
  await connected(urlOf(name), async (client) => {
    const { rows } = await client.query<{ statement: string }>(HAND_OVER);
    for (const { statement } of rows) await client.query(statement);
  });
};
