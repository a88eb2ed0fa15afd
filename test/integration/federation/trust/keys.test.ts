import { expect } from 'chai';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { importVerifyKey } from '#src/protocol/signing/signing-key.ts';
import { verifyJson } from '#src/protocol/signing/json-signatures.ts';
import { federationFetch } from '../../../support/federation-fetch.ts';
import { type Federation, startFederation } from '../../../support/federation.ts';

describe('keys of servers', () => {
  let federation: Federation;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], { partners: ['p.test'] });
  });
  after(() => federation.stop());

  it('are published as canonical JSON, signed by the server itself and nobody else, for the time to come', async () => {
    const { url } = federation.server('a.test');
    const text = await (await fetch(`${url}/_matrix/key/v2/server`)).text();
    const answer = JSON.parse(text);
    expect(text).to.equal(canonicalJson(answer));
    expect(answer.server_name).to.equal('a.test');
    expect(answer.valid_until_ts).to.be.above(federation.clock.now() + 3_600_000);
    expect(answer.old_verify_keys).to.deep.equal({});
    expect(Object.keys(answer.signatures)).to.deep.equal(['a.test']);
    const [keyId] = Object.keys(answer.verify_keys) as [string];
    const { key } = answer.verify_keys[keyId];
    expect(key).to.match(/^[A-Za-z0-9+/]{43}$/);
    expect(verifyJson(answer, 'a.test', keyId, importVerifyKey(key)!)).to.equal(true);
  });

  it('are fetched from the server by whoever needs them', async () => {
    const b = federation.server('b.test');
    const { services } = federation.server('a.test');
    const [key] = await services.serverKeys.keysOf([
      { serverName: 'b.test', keyId: keyIdOf(b.services.ownKeys.published()), validAt: federation.clock.now() },
    ]);
    expect(key).not.to.equal(undefined);
  });

  it('are not needed to ask for name and version', async () => {
    const { body, status } = await federationFetch(federation.urlOf('a.test'), 'GET', '/_matrix/federation/v1/version');
    expect(status).to.equal(200);
    expect(body.server.name).to.equal('Tsudoi');
  });
});

const keyIdOf = (published: string): string => Object.keys(JSON.parse(published).verify_keys)[0] ?? '';
