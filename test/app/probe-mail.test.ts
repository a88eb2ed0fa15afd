import { expect } from 'chai';
import { loadConfig } from '#src/app/config/load.ts';
import { probeMail } from '#src/app/probes.ts';
import { LOOPBACK_CA_FILE } from '#test/support/stand-ins/identity-server.ts';
import { MailServer } from '#test/support/stand-ins/mail-server.ts';

describe('the probe of the server that takes our mail', function () {
  this.timeout(60_000);
  let mail: MailServer;
  before(async () => {
    mail = await MailServer.start({ tls: 'starttls', login: { username: 'tsudoi', password: 'right' } });
  });
  after(() => mail?.stop());

  const probe = (env: Record<string, string>): Promise<string | undefined> =>
    probeMail(
      loadConfig([], { TSUDOI_EMAIL__FROM: 'a@b.test', TSUDOI_FEDERATION__TRUSTED_CA_FILES: LOOPBACK_CA_FILE, ...env }),
    );

  it('says that there is none, that it can be used, and why it cannot', async () => {
    expect(await probeMail(loadConfig([], {}))).to.equal(undefined);
    const account = { TSUDOI_EMAIL__SMTP_URL: mail.url, TSUDOI_EMAIL__USERNAME: 'tsudoi' };
    expect(await probe({ ...account, TSUDOI_EMAIL__PASSWORD: 'right' })).to.equal(
      `localhost:${mail.port} takes our mail`,
    );
    const wrong = await probe({ ...account, TSUDOI_EMAIL__PASSWORD: 'a secret' }).catch(
      (error: Error) => error.message,
    );
    expect(wrong)
      .to.match(/^localhost:\d+ cannot be used: /)
      .and.not.include('a secret');
    expect(mail.take()).to.deep.equal([]);
  });
});
