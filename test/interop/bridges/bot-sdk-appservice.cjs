// An application service made with matrix-bot-sdk: its bot and its ghosts join where they are invited, and a ghost says again what is said.
const { readFileSync } = require('node:fs');
const { Appservice, SimpleRetryJoinStrategy } = require('matrix-bot-sdk');

const [homeserverUrl, registration, port] = process.argv.slice(2);
const appservice = new Appservice({
  port: Number(port),
  bindAddress: '127.0.0.1',
  homeserverName: 'test',
  homeserverUrl,
  registration: JSON.parse(readFileSync(registration, 'utf8')),
  joinStrategy: new SimpleRetryJoinStrategy(),
});

appservice.on('query.user', async (userId, createUser) => {
  console.log(`asked for ${userId}`);
  await createUser({ display_name: 'Summoned' });
});
appservice.on('room.invite', async (roomId, { state_key: invited }) => {
  await appservice.getIntentForUserId(invited).joinRoom(roomId);
  console.log(`${invited} joined ${roomId}`);
});
appservice.on('room.message', async (roomId, { content, sender }) => {
  if (appservice.isNamespacedUser(sender) || content.msgtype !== 'm.text') return;
  const ghost = appservice.getIntentForSuffix('echo');
  await ghost.ensureRegisteredAndJoined(roomId);
  await ghost.sendText(roomId, `echo: ${content.body}`);
});
appservice.on('ephemeral.event', ({ content, type }) => {
  if (type === 'm.typing') console.log(`typing: ${content.user_ids.join()}`);
});

appservice
  .begin()
  .then(() => appservice.botIntent.ensureRegistered())
  .then(() => appservice.pingHomeserver?.())
  .then(() => console.log('ready'))
  .catch((error) => {
    console.error(error);
    process.exit(1);
  });
