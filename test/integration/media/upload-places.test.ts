import { request } from 'node:http';
import { expect } from 'chai';
import { UPLOADS_AT_ONCE, UPLOADS_OF_USER } from '#src/services/media/upload-places.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { fetchMedia, uploadMedia } from '#test/support/media.ts';
import { until } from '#test/support/until.ts';

describe('uploads that do not end', () => {
  const UPLOAD = '/_matrix/media/v3/upload';
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server?.stop());

  it('leave a place to whoever begins one, though few users hold all of them', async () => {
    const slow: { readonly status: Promise<number | undefined>; readonly end: () => void }[] = [];
    const begin = async (user: string): Promise<void> => {
      const { token } = await server.session(user);
      const upload = request(`${server.url}${UPLOAD}`, {
        method: 'POST',
        agent: false,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'text/plain', 'content-length': '1000' },
      });
      const { promise, resolve } = Promise.withResolvers<number | undefined>();
      upload.on('response', (answer) => resolve(answer.resume().statusCode)).on('error', () => resolve(undefined));
      upload.write('begun');
      slow.push({ status: promise, end: () => upload.destroy() });
    };
    const users = ['slow1', 'slow2', 'slow3'];
    expect(users.length * UPLOADS_OF_USER).to.equal(UPLOADS_AT_ONCE);
    for (const user of users) for (let i = 0; i < UPLOADS_OF_USER; i++) await begin(user);
    for (const user of users)
      await until('all places are taken', async () => {
        const { status } = await fetchMedia(server, user, UPLOAD, { method: 'POST', body: 'one more' });
        return status === 429;
      });
    await uploadMedia(server, 'honest', 'has a place');
    expect(await Promise.race(slow.map(({ status }) => status))).to.equal(429);
    for (const { end } of slow) end();
    await Promise.all(slow.map(({ status }) => status));
  });
});
