import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { freePort } from '#test/support/free-port.ts';
import { ask, must } from '#test/support/http.ts';
import { AUTHORITY_FILE } from '#test/support/federation/federation-fetch.ts';
import { until } from '#test/support/until.ts';

/** How often each of the servers is killed. Longer runs by hand: FEDERATION_ROUNDS=20. */
// oxlint-disable-next-line no-process-env -- how long it runs is for whoever runs it
const ROUNDS = Number(process.env['FEDERATION_ROUNDS'] ?? 1);
const NAMES = ['a.test', 'b.test', 'c.test'] as const;
const USERS = ['alice', 'bob', 'carol'] as const;
/** What a server that is away is sent has to be there half a minute after it came back. */
const PATIENCE_MS = 60_000;

const certificate = (name: string): string =>
  new URL(`../../../support/certificates/${name}`, import.meta.url).pathname;

/** A user of one of the servers. */
interface Person {
  readonly server: ChildServer;
  readonly userId: string;
  readonly token: string;
}

describe('servers that are processes of their own, with addresses of their own', function () {
  this.timeout(300_000);
  const servers: ChildServer[] = [];
  const people: Person[] = [];
  let roomId: string;
  let count = 0;
  /** Ids of events that were acknowledged, and of messages to devices by who was sent them. */
  const acknowledged: string[] = [];
  const secrets = new Map<string, string[]>(USERS.map((name) => [name, []]));

  before(async () => {
    const ports = await Promise.all(NAMES.map(() => freePort()));
    const addresses = NAMES.map((_, index) => `127.0.0.${index + 1}`);
    const started = await Promise.allSettled(
      NAMES.map((serverName, index) =>
        ChildServer.start({
          database: 'shared',
          env: {
            TSUDOI_SERVER_NAME: serverName,
            TSUDOI_REGISTRATION__ENABLED: 'true',
            TSUDOI_TLS__PORT: String(ports[index]),
            TSUDOI_TLS__BIND: addresses[index]!,
            TSUDOI_TLS__CERT_FILE: certificate('federation.crt'),
            TSUDOI_TLS__KEY_FILE: certificate('federation.key'),
            TSUDOI_FEDERATION__STATIC_HOSTS: JSON.stringify(
              Object.fromEntries(NAMES.map((name, at) => [name, `${addresses[at]}:${ports[at]}`])),
            ),
            TSUDOI_FEDERATION__TRUSTED_CA_FILES: JSON.stringify([AUTHORITY_FILE]),
            TSUDOI_FEDERATION__ALLOW_IP_RANGES: JSON.stringify(['127.0.0.0/8']),
          },
        }),
      ),
    );
    for (const one of started) if (one.status === 'fulfilled') servers.push(one.value);
    const failed = started.find((one) => one.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    for (const [index, username] of USERS.entries()) {
      const server = servers[index]!;
      const wish = { username, password: 'correct horse battery', auth: { type: 'm.login.dummy' } };
      const login = await must(server.url, 'POST', '/register', { body: wish });
      people.push({ server, userId: login.user_id, token: login.access_token });
    }
    const [alice, ...others] = people as [Person, ...Person[]];
    const created = await must(alice.server.url, 'POST', '/createRoom', {
      token: alice.token,
      body: { preset: 'public_chat', power_level_content_override: { state_default: 0 } },
    });
    roomId = created.room_id;
    for (const { server, token } of others)
      await must(server.url, 'POST', `/join/${encodeURIComponent(roomId)}?server_name=a.test`, { token, body: {} });
  });
  after(() => Promise.all(servers.map((server) => server.dispose())));

  const path = (part: string): string => `/rooms/${encodeURIComponent(roomId)}/${part}`;

  /** Says something, changes the topic, and sends a device of somebody else something, if the server is there. */
  const act = async (index: number): Promise<boolean> => {
    const { server, token } = people[index]!;
    const text = `t${(count += 1)}`;
    const to = (index + 1) % 3;
    const [type, url, body] =
      count % 4 === 0
        ? ['secret', `/sendToDevice/org.test.secret/${text}`, { messages: { [people[to]!.userId]: { '*': { text } } } }]
        : count % 4 === 1
          ? ['event', path('state/m.room.topic'), { topic: text }]
          : ['event', path(`send/m.room.message/${text}`), { msgtype: 'm.text', body: text }];
    const answer = await ask(server.url, 'PUT', url as string, { token, body }).catch(() => undefined);
    if (answer?.status !== 200) return false;
    if (type === 'secret') secrets.get(USERS[to]!)!.push(text);
    else acknowledged.push(answer.body.event_id);
    return true;
  };

  /** Everything that a user sees in the room, back to its beginning. */
  const readBack = async ({ server, token }: Person): Promise<string[]> => {
    const ids: string[] = [];
    for (let from = ''; ;) {
      const page = await must(server.url, 'GET', path(`messages?dir=b&limit=100${from}`), { token });
      ids.push(...page.chunk.map((event: { event_id: string }) => event.event_id));
      if (page.end === undefined) return ids;
      from = `&from=${page.end}`;
    }
  };
  const stateOf = async ({ server, token }: Person): Promise<string[]> =>
    (await must(server.url, 'GET', path('state'), { token }))
      .map((event: { event_id: string }) => event.event_id)
      .sort();

  it('have the same room and lose nothing that was acknowledged, though each is killed with SIGKILL while all are busy', async () => {
    for (let round = 0; round < ROUNDS; round++)
      for (const [victim, server] of servers.entries()) {
        const busy = USERS.map(async (_, index) => {
          for (let n = 0; n < 12; n++) await act(index);
        });
        await until('something is acknowledged', () => act(victim));
        await server.kill('SIGKILL');
        await Promise.all(busy);
        // The others go on without it.
        for (const other of [0, 1, 2]) if (other !== victim) expect(await act(other)).to.equal(true);
        await server.launch();
      }
    for (const index of [0, 1, 2, 0, 1, 2]) expect(await act(index)).to.equal(true);
    const missing = async (person: Person): Promise<string[]> => {
      const seen = new Set(await readBack(person));
      return acknowledged.filter((id) => !seen.has(id));
    };
    for (const person of people) {
      let left: string[] = [];
      await until(
        () => `${person.userId} sees what was acknowledged: ${left.join()}\n${person.server.output.slice(-3_000)}`,
        async () => (left = await missing(person)).length === 0,
        PATIENCE_MS,
      );
      const seen = await readBack(person);
      expect(seen, person.userId).to.have.length(new Set(seen).size);
    }
    let states: string[][] = [];
    await until(
      () => `all have the same state: ${JSON.stringify(states)}`,
      async () => {
        states = await Promise.all(people.map(stateOf));
        return states.every((state) => JSON.stringify(state) === JSON.stringify(states[0]));
      },
      PATIENCE_MS,
    );
    for (const [index, person] of people.entries()) {
      const got: string[] = [];
      const expected = secrets.get(USERS[index]!)!;
      let since = '';
      await until(
        () => `${person.userId} got ${got.join()} of ${expected.join()}`,
        async () => {
          const news = await must(person.server.url, 'GET', `/sync?timeout=0${since}`, { token: person.token });
          since = `&since=${news.next_batch}`;
          got.push(...(news.to_device?.events ?? []).map((event: { content: { text: string } }) => event.content.text));
          return expected.every((text) => got.includes(text));
        },
        PATIENCE_MS,
      );
      expect(got).to.have.length(new Set(got).size);
    }
  });
});
