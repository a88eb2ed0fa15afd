import { expect } from 'chai';
import fc from 'fast-check';
import { withoutSecrets } from '#src/kernel/logging/without-secrets.ts';

describe('a text of the log that administrators are shown', () => {
  const secret = fc
    .stringMatching(/^[A-Za-z0-9_-]{20,40}$/)
    .filter((text) => !/token|secret|pass|mac|cookie/i.test(text));
  /** Where secrets stand in messages of libraries, and in what users send. */
  const places: readonly ((secret: string) => string)[] = [
    (s) => `GET /_matrix/client/v3/sync?access_token=${s}&since=1 failed`,
    (s) => `connect to postgres://tsudoi:${s}@db.example:5432/tsudoi refused`,
    (s) => `header Authorization: Bearer ${s}`,
    (s) => `{"access_token":"${s}","x":1}`,
    (s) => `{\\"password\\":\\"${s}\\"}`,
    (s) => `{'refresh_token': '${s}'}`,
    (s) => `registration_shared_secret: ${s}`,
    (s) => `password=${s};`,
    (s) => `fetching https://far.example/x?sig=${s}, which failed`,
    (s) => `token ${s}.${s}.${s} is not ours`,
    (s) => `tdr_${s} was used twice`,
    (s) => `hs_token="${s}"`,
  ];

  it('holds no token, password or query of a URL, wherever in the text they stand', () => {
    fc.assert(
      fc.property(secret, fc.constantFrom(...places), fc.string(), fc.string(), (hidden, place, before, after) => {
        const shown = withoutSecrets(`${before} ${place(hidden)} ${after}`);
        fc.pre(!before.includes(hidden) && !after.includes(hidden));
        expect(shown).not.to.include(hidden);
      }),
    );
  });

  it('keeps what tells where something failed', () => {
    for (const text of [
      'the event loop was held',
      'at Writer.append (file:///opt/tsudoi/src/services/commit/writer.ts:120:9)',
      'duplicate key value violates unique constraint "media_name"',
      '$WQkKVBwBOqCDs2tEV3sJ5Wc8hYhHzRQAQqjPVk1dzzE in !abc:example.org of @alice:example.org',
    ])
      expect(withoutSecrets(text)).to.equal(text);
  });
});
