import assert from 'node:assert/strict';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { systemTimers } from '#src/kernel/timers.ts';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { BridgeProcess } from '#test/support/bridges/bridge-process.ts';
import { freePort } from '#test/support/free-port.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

const BOT = fileURLToPath(new URL('../../../docs/examples/answering-bot.mjs', import.meta.url));

describe('docs/examples/answering-bot.mjs', () => {
  const asked: { readonly url: string; readonly headers: IncomingHttpHeaders; readonly body: Json }[] = [];
  let endpoint: Server;
  let server: InProcessServer;
  let bot: BridgeProcess;

  before(async () => {
    endpoint = createServer((request, response) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString()));
      request.on('end', () => {
        const body = JSON.parse(text);
        asked.push({ url: request.url ?? '', headers: request.headers, body });
        const said = `You said: ${body.messages.at(-1).content}`;
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ choices: [{ message: { role: 'assistant', content: said } }] }));
      });
    });
    await new Promise<void>((resolve) => {
      endpoint.listen(0, '127.0.0.1', resolve);
    });
    const port = await freePort();
    server = await InProcessServer.start({
      timers: systemTimers,
      appservices: [
        registrationOf('answers', {
          url: `http://127.0.0.1:${port}`,
          sender_localpart: 'answers',
          namespaces: { users: [], aliases: [], rooms: [] },
        }),
      ],
    });
    bot = new BridgeProcess(process.execPath, [BOT], {
      HOMESERVER_URL: server.url,
      AS_TOKEN: 'as_token_of_answers',
      HS_TOKEN: 'hs_token_of_answers',
      CHAT_BASE_URL: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/v1`,
      CHAT_API_KEY: 'the-key',
      CHAT_MODEL: 'small',
      PORT: String(port),
    });
    await until(
      () => `the bot: ${bot.output}`,
      () => bot.output.includes('listens'),
    );
  });
  after(async () => {
    await bot?.kill();
    await server?.stop();
    endpoint?.closeAllConnections();
    endpoint?.close();
  });

  it('joins where it is invited, and answers those who mention it, by what the endpoint of the admin says', async () => {
    const room = await server.room('alice', { invite: ['@answers:test'] });
    await until('the bot in the room', async () => {
      const { joined } = await server.must('alice', 'GET', `/rooms/${room}/joined_members`);
      return '@answers:test' in joined;
    });
    await server.say('alice', room, 'nobody in particular');
    const content = {
      msgtype: 'm.text',
      body: 'what is up?',
      'm.mentions': { user_ids: ['@answers:test'] },
    };
    const { event_id: question } = await server.must('alice', 'PUT', `/rooms/${room}/send/m.room.message/q1`, content);
    const answer = await until('the answer', async () => {
      const { chunk } = await server.must('alice', 'GET', `/rooms/${room}/messages?dir=b&limit=10`);
      return chunk.find(({ sender, type }: Json) => sender === '@answers:test' && type === 'm.room.message');
    });
    assert.equal(answer.content.body, 'You said: @alice:test: what is up?');
    assert.equal(answer.content['m.relates_to']['m.in_reply_to'].event_id, question);
    assert.equal(asked.length, 1, 'the other message was not meant for it');
    const [{ body, headers, url }] = asked as [(typeof asked)[number]];
    assert.equal(url, '/v1/chat/completions');
    assert.equal(headers.authorization, 'Bearer the-key');
    assert.equal(body.model, 'small');
    assert.deepEqual(
      body.messages.map(({ role }: Json) => role),
      ['system', 'user', 'user'],
    );
  });

  it('answers the ping of the server, and nobody who does not know its token', async () => {
    const { body, status } = await server.ask('as_token_of_answers', 'POST', '/v1/appservice/answers/ping', {});
    assert.equal(status, 200, JSON.stringify(body));
  });
});
