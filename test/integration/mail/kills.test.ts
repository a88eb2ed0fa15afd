import { expect } from 'chai';
import { findDigests, findExpiring } from '#src/jobs/definitions.ts';
import { OPERATOR } from '#src/services/audit/actor.ts';
import { killPoints } from '#test/support/mortal/kill-points.ts';
import { MailServer, type ReceivedMail } from '#test/support/stand-ins/mail-server.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';

/** Something that leads to one mail. */
interface Scenario {
  readonly title: string;
  /** The jobs that send it. */
  readonly jobs: readonly string[];
  /** Returns the address that is told. */
  readonly prepare: (life: Life) => Promise<string>;
  readonly act: (life: Life, address: string) => Promise<unknown>;
}

describe('a server that is killed while it sends mail', function () {
  this.timeout(180_000);
  let mail: MailServer;
  let server: MortalServer;
  let count = 0;
  before(async () => {
    mail = await MailServer.start();
    server = await MortalServer.open({
      TSUDOI_EMAIL__SMTP_URL: mail.url,
      TSUDOI_EMAIL__STARTTLS: 'none',
      TSUDOI_EMAIL__FROM: 'noreply@tsudoi.test',
      TSUDOI_EMAIL__DIGESTS__DELAY_MS: '0',
      TSUDOI_EMAIL__LOGIN_NOTICES: 'true',
      TSUDOI_ACCOUNT_VALIDITY__ENABLED: 'true',
    });
  });
  after(async () => {
    await server?.close();
    await mail?.stop();
  });

  const idsOf = (mails: readonly ReceivedMail[]): Set<unknown> => new Set(mails.map(({ parsed }) => parsed.messageId));

  const promise = ({ act, jobs, prepare, title }: Scenario): void => {
    it(`${title} is sent once, however the process ends, but for the one moment in which SMTP cannot say what was taken`, async () => {
      const first = await server.begin();
      const subject = await prepare(first);
      // What follows from the preparation by itself is done first.
      await first.pass(1_000);
      await first.doJobs();
      mail.take();
      first.jobsDone.clear();
      first.mortal.killAt(Infinity);
      await act(first, subject);
      await first.pass(0);
      await first.doJobs();
      const halfSteps = 2 * first.mortal.steps;
      expect(mail.take()).to.have.length(1);
      expect([...first.jobsDone]).to.include.members([...jobs]);
      await first.end();
      let [acknowledged, twice] = [0, 0];
      for (const kill of killPoints(halfSteps)) {
        const before = await server.begin();
        const doomed = await prepare(before);
        await before.pass(1_000);
        await before.doJobs();
        mail.take();
        before.mortal.killAt(kill);
        const answered = await before.mortal.survives(() => act(before, doomed));
        // What else follows from it (other servers are told of a new device) is done first: no step of it lies between a mail and its note.
        if (answered && (await before.mortal.survives(() => before.pass(0))))
          await before.mortal.survives(() => before.doJobs());
        const after = await server.begin();
        await after.doJobs();
        // Those of earlier lives may be told only now.
        const mails = mail.take().filter(({ to }) => to.includes(doomed));
        const what = `killed at half step ${kill} of ${halfSteps}`;
        expect(idsOf(mails).size, what).to.be.at.most(1);
        if (answered) expect(mails.length, what).to.be.at.least(1);
        expect(mails.length, what).to.be.at.most(2);
        if (answered) acknowledged += 1;
        if (mails.length === 2) twice += 1;
        await after.end();
      }
      expect(acknowledged, 'there are steps after the answer').to.be.above(0);
      expect(twice, 'between the answer of the other server and its being noted').to.be.at.most(1);
    });
  };

  promise({
    title: 'the mail that validates an address',
    jobs: ['mail.validation'],
    prepare: async () => `killed${(count += 1)}@mail.test`,
    act: ({ services }, email) =>
      services.addressValidation.request('register', {
        email,
        clientSecret: 'secret',
        sendAttempt: 1,
        ip: '127.0.0.1',
      }),
  });

  promise({
    title: 'the mail about missed messages',
    jobs: ['mail.find_digests', 'mail.digest'],
    async prepare(life) {
      const [reader, writer] = [await server.user(life), await server.user(life)];
      const { accountThreepids, database, events, joins, pushers, roomCreation } = life.services;
      const pushkey = `${reader.userId.slice(1).replace(':', '@')}.test`;
      await accountThreepids.replace(reader.userId, [{ medium: 'email', address: pushkey }]);
      const room = await roomCreation.create(writer, { preset: 'public_chat' });
      await joins.join(reader, { roomIdOrAlias: room.roomId });
      const names = { appDisplayName: 'Mail', deviceDisplayName: 'Mail', lang: 'en' };
      await pushers.set(reader, {
        kind: 'email',
        appId: 'm.email',
        pushkey,
        ...names,
        data: {},
        append: true,
        enabled: true,
      });
      await database.query({ name: 'test_older', text: 'update pushers set created_ts = created_ts - 1000' });
      const content = { msgtype: 'm.text', body: 'hello' };
      await events.send(room, { type: 'm.room.message', sender: writer.userId, content });
      return pushkey;
    },
    act: ({ services }) => services.database.write((tx) => tx.enqueue(findDigests, {})),
  });

  /** Somebody with an address of their own. */
  const reachable = async (life: Life): Promise<{ readonly userId: string; readonly address: string }> => {
    const { userId } = await server.user(life);
    const address = `${userId.slice(1).replace(':', '@')}.test`;
    await life.services.accountThreepids.replace(userId, [{ medium: 'email', address }]);
    return { userId, address };
  };

  promise({
    title: 'the mail about a login on a new device',
    jobs: ['mail.login_notice'],
    prepare: async (life) => (await reachable(life)).address,
    act: ({ services }, address) =>
      services.login.login({
        type: 'm.login.password',
        identifier: { type: 'm.id.thirdparty', medium: 'email', address },
        password: 'correct horse battery',
        ip: '127.0.0.1',
      }),
  });

  promise({
    title: 'the mail about an account that is about to expire',
    jobs: ['mail.find_expiring', 'mail.expiry_notice'],
    async prepare(life) {
      const { userId, address } = await reachable(life);
      const soon = { expiresTs: life.clock.now() + 86_400_000, mails: true };
      await life.services.accountValidity.setByAdmin(OPERATOR, userId, soon);
      return address;
    },
    act: ({ services }) => services.database.write((tx) => tx.enqueue(findExpiring, {})),
  });

  promise({
    title: 'the mail about an invitation to a room',
    jobs: ['third_party_invites.sent', 'mail.invitation'],
    prepare: async () => `invited${(count += 1)}@mail.test`,
    async act(life, address) {
      const inviter = await server.user(life);
      const { roomId } = await life.services.roomCreation.create(inviter, { preset: 'private_chat' });
      await life.services.thirdPartyInvites.invite(inviter, roomId, {
        medium: 'email',
        address,
        idServer: server.serverName,
      });
    },
  });
});
