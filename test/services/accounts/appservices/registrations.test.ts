import { expect } from 'chai';
import { Appservices, type RegistrationsChanged } from '#src/services/accounts/appservices/appservices.ts';
import type { Database } from '#src/storage/database.ts';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';

/** What bridges of the mautrix family write. */
const MAUTRIX = `
id: telegram
url: http://localhost:29317
as_token: a5Zs
hs_token: h5Zs
sender_localpart: 8sd7f6
rate_limited: false
namespaces:
    users:
        - regex: ^@telegrambot:a\\.test$
          exclusive: true
        - regex: ^@telegram_.*:a\\.test$
          exclusive: true
de.sorunome.msc2409.push_ephemeral: true
receive_ephemeral: true
io.element.msc4190: true
org.matrix.msc3202: true
`;
/** What gives bridges the accounts of their users. */
const DOUBLE_PUPPET = `
id: doublepuppet
url:
as_token: d5Zs
hs_token: e5Zs
sender_localpart: d8f7s6
rate_limited: false
namespaces:
  users:
    - regex: '@.*:a\\.test'
      exclusive: false
`;

describe('registrations of application services', () => {
  let files: { readonly path: string; readonly text: string }[];
  let lines: Line[];
  let appservices: Appservices;

  beforeEach(() => {
    files = [];
    lines = [];
    appservices = new Appservices({
      database: { query: async () => [] } as unknown as Database,
      logger: recordingLogger(lines),
      serverName: 'a.test',
      readFiles: async () => files,
    });
  });

  const register = (...registrations: readonly (object | string)[]): void => {
    files = registrations.map((registration, index) => ({
      path: `${index}.yaml`,
      text: typeof registration === 'string' ? registration : JSON.stringify(registration),
    }));
  };

  const load = async (...registrations: readonly (object | string)[]): Promise<Appservices> => {
    register(...registrations);
    await appservices.load();
    return appservices;
  };

  const refusal = async (...registrations: readonly (object | string)[]): Promise<string> => {
    register(...registrations);
    try {
      await appservices.load();
    } catch (error) {
      return (error as Error).message;
    }
    throw new Error('They were accepted.');
  };

  it('are read as bridges write them: without a URL, with keys of their own, in both spellings', async () => {
    const [telegram, puppet] = (await load(MAUTRIX, DOUBLE_PUPPET)).all();
    expect(telegram).to.include({
      id: 'telegram',
      url: 'http://localhost:29317',
      sender: '@8sd7f6:a.test',
      rateLimited: false,
      receiveEphemeral: true,
      wantsDeviceData: true,
      managesDevices: true,
      source: '0.yaml',
    });
    expect(puppet).to.include({ url: null, receiveEphemeral: false, wantsDeviceData: false, managesDevices: false });
  });

  it('know a service by its token, and nobody by another one', async () => {
    const { all } = await load(MAUTRIX);
    expect(appservices.byToken('a5Zs')).to.equal(all.call(appservices)[0]);
    for (const token of ['h5Zs', 'a5Z', '', 'a5Zs ']) expect(appservices.byToken(token), token).to.equal(undefined);
  });

  it('say who is interested in a user, an alias or a room: the sender and what matches from the beginning', async () => {
    await load(
      MAUTRIX,
      DOUBLE_PUPPET,
      registrationOf('irc', {
        namespaces: {
          users: [],
          aliases: [{ exclusive: false, regex: '#irc_' }],
          rooms: [{ exclusive: false, regex: '!x' }],
        },
      }),
    );
    const ids = (services: readonly { readonly id: string }[]): string[] => services.map(({ id }) => id);
    expect(ids(appservices.interestedInUser('@telegram_1:a.test'))).to.deep.equal(['telegram', 'doublepuppet']);
    expect(ids(appservices.interestedInUser('@8sd7f6:a.test'))).to.deep.equal(['telegram', 'doublepuppet']);
    expect(ids(appservices.interestedInUser('@telegrambot:a.test.evil'))).to.deep.equal([]);
    expect(ids(appservices.interestedInUser('@_irc_bot:a.test'))).to.deep.equal(['doublepuppet', 'irc']);
    expect(ids(appservices.interestedInAlias('#irc_room:a.test'))).to.deep.equal(['irc']);
    expect(ids(appservices.interestedInAlias('#my#irc_room:a.test'))).to.deep.equal([]);
    expect(ids(appservices.interestedInRoom('!x1'))).to.deep.equal(['irc']);
    expect(appservices.ownerOfUser('@telegram_1:a.test')?.id).to.equal('telegram');
    expect(appservices.ownerOfUser('@8sd7f6:a.test')?.id).to.equal('telegram');
    expect(appservices.ownerOfUser('@alice:a.test')).to.equal(undefined);
    expect(appservices.ownerOfAlias('#irc_room:a.test')).to.equal(undefined);
  });

  it('are matched in linear time, whatever expression they bring', async () => {
    await load(registrationOf('slow', { namespaces: { users: [{ exclusive: true, regex: '@(a+)+$' }] } }));
    expect(appservices.interestedInUser(`@${'a'.repeat(200)}!:a.test`)).to.deep.equal([]);
  });

  it('are refused with a sentence for each thing that is wrong', async () => {
    const message = await refusal({
      id: '',
      url: 'ftp://x',
      as_token: 'x',
      hs_token: 1,
      sender_localpart: 'a:b',
      rate_limited: 'yes',
      protocols: 'irc',
      namespaces: {
        users: [{ regex: '@(?!bot).*', exclusive: true }, { regex: '@a' }],
        aliases: 'none',
      },
    });
    for (const part of [
      'registration 0.yaml',
      'id must be',
      'url must be null, or a URL',
      'hs_token must be',
      'sender_localpart must be',
      'rate_limited must be true or false',
      'protocols must be a list',
      'namespaces.users[0].regex is no regular expression that this server can match in linear time',
      'namespaces.users[1] must have a regex',
      'namespaces.aliases must be a list',
    ])
      expect(message).to.include(part);
    expect(await refusal('a: [')).to.include('it is not YAML');
    expect(await refusal('- 1')).to.include('must be a map');
    expect(await refusal(registrationOf('irc', { as_token: 'a b' }))).to.include('as_token must be');
    expect(message).not.to.include('as_token_of');
  });

  it('are refused when two have the same id, token, sender or exclusive namespace', async () => {
    const irc = registrationOf('irc');
    const other = registrationOf('other');
    expect(await refusal(irc, { ...other, id: 'irc' })).to.include('have the same id');
    expect(await refusal(irc, { ...other, as_token: irc.as_token })).to.include('have the same as_token');
    expect(await refusal(irc, { ...other, sender_localpart: irc.sender_localpart })).to.include(
      'same sender_localpart',
    );
    expect(await refusal(irc, { ...other, sender_localpart: '_irc_x' })).to.include('@_irc_x:a.test');
    for (const regex of ['@_irc_.*', '^@_irc_[a-z]+:a\\.test$', '@_irc_freenode_.+', '@_(?:irc|xmpp)_\\w+:.*'])
      expect(await refusal(irc, { ...other, namespaces: { users: [{ exclusive: true, regex }] } }), regex).to.match(
        /both have users such as @_irc_/,
      );
    await load(irc, { ...other, namespaces: { users: [{ exclusive: false, regex: '@_irc_.*' }] } });
  });

  it('come into force together or not at all, and say what changed', async () => {
    const told: RegistrationsChanged[] = [];
    appservices.changed.subscribe((change) => void told.push(change));
    await load(registrationOf('irc'), registrationOf('xmpp'));
    await load(registrationOf('irc'), registrationOf('xmpp'));
    await refusal(registrationOf('irc', { url: 'http://localhost' }), 'a: [');
    expect(appservices.byId('irc')?.url).to.equal(null);
    await load(registrationOf('irc', { url: 'http://localhost/' }));
    expect(appservices.byId('irc')?.url).to.equal('http://localhost');
    expect(appservices.byToken('as_token_of_xmpp')).to.equal(undefined);
    expect(appservices.interestedInUser('@_xmpp_a:a.test')).to.deep.equal([]);
    expect(told.map(({ changed, removed }) => [changed.map(({ id }) => id), removed])).to.deep.equal([
      [['irc', 'xmpp'], []],
      [['irc'], ['xmpp']],
    ]);
  });

  it('write no token into the log', async () => {
    await load(registrationOf('irc'));
    expect(lines).not.to.deep.equal([]);
    expect(JSON.stringify(lines)).not.to.match(/[ah]s_token_of/);
  });
});
