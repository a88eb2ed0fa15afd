import { expect } from 'chai';
import type { Json } from './support/account.ts';
import { inBothDirections, NAMES, type Rig } from './support/rig.ts';

export function keys(rig: () => Rig): void {
  inBothDirections((asked, notary) => {
    describe(`the keys of ${NAMES[asked]}`, () => {
      it('are published where other servers ask, and the other one vouches for them as a notary', async () => {
        const { serverName } = rig()[asked];
        const { status, body } = await rig()[asked].askUnsigned('GET', '/_matrix/key/v2/server');
        expect(status).to.equal(200);
        expect(body.server_name).to.equal(serverName);
        const answer = await rig()[notary].askUnsigned('POST', '/_matrix/key/v2/query', {
          server_keys: {
            [serverName]: { [Object.keys(body.verify_keys)[0]!]: { minimum_valid_until_ts: Date.now() } },
          },
        });
        const [vouched] = answer.body.server_keys as Json[];
        expect(vouched.verify_keys).to.deep.equal(body.verify_keys);
        expect(vouched.signatures[serverName]).to.deep.equal(body.signatures[serverName]);
        expect(Object.keys(vouched.signatures)).to.have.members([serverName, rig()[notary].serverName]);
      });

      it('come with name and version of the program', async () => {
        const { body } = await rig()[asked].askUnsigned('GET', '/_matrix/federation/v1/version');
        expect(body.server).to.have.keys(['name', 'version']);
      });
    });
  });
}
