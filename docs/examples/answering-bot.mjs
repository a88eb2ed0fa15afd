// A bot that answers when it is mentioned: an application service in one file, with nothing to install. It needs Node 20 or newer.
//
// It asks an endpoint that speaks OpenAI's chat completions (https://platform.openai.com/docs/api-reference/chat), be it a service or a model
// on your own machine (llama.cpp, vLLM, Ollama), and answers in the room. docs/examples/answering-bot.md says how to set it up.
import { createServer } from 'node:http';

const { env } = process;
const required = (name) => {
  const value = env[name];
  if (value === undefined || value === '') {
    console.error(`${name} is not set`);
    process.exit(1);
  }
  return value;
};

const HOMESERVER = required('HOMESERVER_URL').replace(/\/$/, '');
const AS_TOKEN = required('AS_TOKEN');
const HS_TOKEN = required('HS_TOKEN');
const ENDPOINT = required('CHAT_BASE_URL').replace(/\/$/, '');
const API_KEY = env.CHAT_API_KEY ?? '';
const MODEL = env.CHAT_MODEL ?? 'default';
const PROMPT =
  env.CHAT_PROMPT ?? 'You are a helpful member of a chat room. Answer briefly, in the language of the question.';
const PORT = Number(env.PORT ?? 9100);

const MAX_BODY_BYTES = 16 * 1024 * 1024;
const ANSWER_MS = 60_000;
/** Messages of a room that it remembers, and rooms. */
const REMEMBERED = 20;
const MAX_ROOMS = 1_000;
/** Questions that it works on at once; more wait. */
const AT_ONCE = 4;

/** One request to the homeserver, as the bot. */
const matrix = async (method, path, body) => {
  const response = await fetch(`${HOMESERVER}/_matrix/client/v3${path}`, {
    method,
    headers: { authorization: `Bearer ${AS_TOKEN}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${answer.errcode} ${answer.error}`);
  return answer;
};

/** What was said last in each room, as the endpoint takes it. */
const conversations = new Map();
const remember = (roomId, message) => {
  const said = conversations.get(roomId) ?? [];
  conversations.delete(roomId);
  conversations.set(roomId, [...said, message].slice(-REMEMBERED));
  if (conversations.size > MAX_ROOMS) conversations.delete(conversations.keys().next().value);
};

const complete = async (roomId) => {
  const response = await fetch(`${ENDPOINT}/chat/completions`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(API_KEY === '' ? {} : { authorization: `Bearer ${API_KEY}` }),
    },
    body: JSON.stringify({
      model: MODEL,
      messages: [{ role: 'system', content: PROMPT }, ...(conversations.get(roomId) ?? [])],
    }),
    signal: AbortSignal.timeout(ANSWER_MS),
  });
  if (!response.ok) throw new Error(`the endpoint answered with ${response.status}`);
  const text = (await response.json()).choices?.[0]?.message?.content;
  if (typeof text !== 'string' || text === '') throw new Error('the endpoint answered without a text');
  return text;
};

/** Answers a message. Its id makes the answer one, however often it is sent: transactions come at least once. */
const reply = async ({ event_id: eventId, room_id: roomId, sender }) => {
  const text = await complete(roomId);
  remember(roomId, { role: 'assistant', content: text });
  await matrix(
    'PUT',
    `/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${encodeURIComponent(`answer-${eventId}`)}`,
    {
      msgtype: 'm.notice',
      body: text,
      'm.mentions': { user_ids: [sender] },
      'm.relates_to': { 'm.in_reply_to': { event_id: eventId } },
    },
  );
};

const waiting = [];
let working = 0;
const work = () => {
  while (working < AT_ONCE && waiting.length > 0) {
    const event = waiting.shift();
    working += 1;
    reply(event)
      .catch((error) => console.error(`${event.event_id} is not answered: ${error.message}`))
      .finally(() => {
        working -= 1;
        work();
      });
  }
};

const take = async (event, me) => {
  const { content, sender, type } = event;
  if (type === 'm.room.member' && event.state_key === me && content.membership === 'invite') {
    await matrix('POST', `/join/${encodeURIComponent(event.room_id)}`, {});
    return;
  }
  // Bots answer with notices, and are not answered: two of them would never end.
  if (type !== 'm.room.message' || sender === me || content?.msgtype !== 'm.text') return;
  if (typeof content.body !== 'string' || content['m.relates_to']?.rel_type === 'm.replace') return;
  remember(event.room_id, { role: 'user', content: `${sender}: ${content.body}` });
  const mentioned = content['m.mentions']?.user_ids;
  const isMeant = Array.isArray(mentioned) ? mentioned.includes(me) : content.body.includes(me);
  if (!isMeant || waiting.length >= 100) return;
  waiting.push(event);
  work();
};

/** Transactions that it has had, the newest last. */
const seen = new Set();

const serve = async (request, me) => {
  if (request.headers.authorization !== `Bearer ${HS_TOKEN}`) return [403, { errcode: 'M_FORBIDDEN' }];
  let text = '';
  for await (const chunk of request) {
    text += chunk;
    if (text.length > MAX_BODY_BYTES) return [413, { errcode: 'M_TOO_LARGE' }];
  }
  const path = new URL(request.url, 'http://localhost').pathname;
  if (request.method === 'POST' && path === '/_matrix/app/v1/ping') return [200, {}];
  const transaction = /^\/_matrix\/app\/v1\/transactions\/([^/]+)$/.exec(path)?.[1];
  if (request.method !== 'PUT' || transaction === undefined) return [404, { errcode: 'M_UNRECOGNIZED' }];
  if (seen.has(transaction)) return [200, {}];
  for (const event of JSON.parse(text).events) await take(event, me);
  seen.add(transaction);
  if (seen.size > 1_000) seen.delete(seen.values().next().value);
  return [200, {}];
};

const { user_id: me } = await matrix('GET', '/account/whoami');
createServer((request, response) => {
  void serve(request, me)
    .catch((error) => {
      // It is sent again later.
      console.error(error.message);
      return [500, { errcode: 'M_UNKNOWN' }];
    })
    .then(([status, body]) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    });
}).listen(PORT, env.BIND ?? '127.0.0.1', () => console.log(`${me} listens at port ${PORT}`));
