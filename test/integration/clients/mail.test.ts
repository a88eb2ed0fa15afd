import { expect } from 'chai';
import { InteractiveAuth } from 'matrix-js-sdk';
import { MailWorld } from '#test/integration/mail/mail-world.ts';
import { must } from '#test/support/http.ts';
import { PASSWORD, SdkClient } from '#test/support/sdk-client.ts';

const NEW_PASSWORD = 'a password that is new';
const SECRET = 'the_secret_of_the_client';

describe('mail addresses by js-sdk clients', function () {
  this.timeout(60_000);
  let world: MailWorld;
  before(async () => {
    world = await MailWorld.start();
  });
  after(() => world?.stop());

  const passwordOf = (userId: string): object => ({
    type: 'm.login.password',
    identifier: { type: 'm.id.user', user: userId },
    password: PASSWORD,
  });
  const added = async (name: string): Promise<{ person: SdkClient; email: string }> => {
    const person = await SdkClient.register(world.app.url, name);
    const email = world.address();
    const { sid } = await person.client.requestAdd3pidEmailToken(email, SECRET, 1);
    await world.app.idle();
    await world.follow(world.mail.one());
    const wish = { sid, client_secret: SECRET };
    const asked = await person.client.addThreePidOnly(wish).catch((error: { data: { flows: unknown } }) => error);
    expect((asked as { data: { flows: unknown } }).data.flows).to.deep.equal([{ stages: ['m.login.password'] }]);
    await person.client.addThreePidOnly({ ...wish, auth: passwordOf(person.userId) } as never);
    return { person, email };
  };

  it('are added with a mail and the password, listed, and removed', async () => {
    const { email, person } = await added('sdk-adds');
    const { threepids } = await person.client.getThreePids();
    expect(threepids.map(({ address, medium }) => [medium, address])).to.deep.equal([['email', email]]);
    await person.client.deleteThreePid('email', email);
    expect((await person.client.getThreePids()).threepids).to.deep.equal([]);
  });

  it('give a new password to whoever has forgotten the old one', async () => {
    const { email, person } = await added('sdk-forgets');
    const stranger = SdkClient.of(world.app.url, { user_id: '', access_token: '', device_id: '' }).client;
    stranger.http.opts.accessToken = undefined as never;
    const { sid } = await stranger.requestPasswordEmailToken(email, SECRET, 1);
    const auth = {
      type: 'm.login.email.identity',
      threepid_creds: { sid, client_secret: SECRET },
      threepidCreds: { sid, client_secret: SECRET },
    };
    const early = await stranger.setPassword(auth, NEW_PASSWORD).catch((error: { httpStatus: number }) => error);
    expect((early as { httpStatus: number }).httpStatus).to.equal(401);
    await world.app.idle();
    await world.follow(world.mail.one());
    await stranger.setPassword(auth, NEW_PASSWORD, true);
    const login = {
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: person.userId },
      password: NEW_PASSWORD,
    };
    expect((await must(world.app.url, 'POST', '/login', { body: login })).user_id).to.equal(person.userId);
  });

  it('belong to accounts from their beginning, by interactive authentication that polls until the link was followed', async () => {
    const closed = await MailWorld.start({ registration: { requiresEmail: true } });
    try {
      const { client } = SdkClient.of(closed.app.url, { user_id: '', access_token: '', device_id: '' });
      const email = closed.address();
      const stages: string[] = [];
      const auth = new InteractiveAuth({
        matrixClient: client,
        inputs: { emailAddress: email },
        doRequest: (given) =>
          client.registerRequest({ username: 'sdk-newcomer', password: PASSWORD, auth: given ?? undefined } as never),
        requestEmailToken: (address, secret, attempt) => client.requestRegisterEmailToken(address, secret, attempt),
        stateUpdated: (stage) => void stages.push(stage),
      });
      const registered = auth.attemptAuth();
      const mail = async () => {
        for (;;) {
          await closed.app.idle();
          const [came] = closed.mail.take();
          if (came !== undefined) return came;
          await new Promise((resolve) => {
            setImmediate(resolve);
          });
        }
      };
      await closed.follow(await mail());
      await auth.poll();
      const { user_id: userId, access_token: token } = (await registered) as { user_id: string; access_token: string };
      expect(userId).to.equal('@sdk-newcomer:test');
      expect(stages).to.include('m.login.email.identity');
      expect((await closed.threepids(token)).map(({ address }) => address)).to.deep.equal([email]);
    } finally {
      await closed.stop();
    }
  });
});
