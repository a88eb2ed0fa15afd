import { expect } from 'chai';
import { sameState } from './support/account.ts';
import { inBothDirections, type Rig } from './support/rig.ts';

export function thirdPartyInvites(rig: () => Rig): void {
  describe('invitations by mail address', () => {
    inBothDirections((host, guest, title) => {
      it(`reach the user to whom the address is bound later, in a room ${title}`, async () => {
        const { identity } = rig();
        const alice = await rig()[host].user('alice');
        const bob = await rig()[guest].user('bob');
        const roomId = await alice.room('11', { preset: 'private_chat' });
        const address = `${guest}@example.org`;
        await alice.must('POST', `/rooms/${encodeURIComponent(roomId)}/invite`, {
          id_server: identity.name,
          id_access_token: identity.token,
          medium: 'email',
          address,
        });
        const [token] = (await alice.stateIds(roomId))
          .filter((line) => line.startsWith('m.room.third_party_invite|'))
          .map((line) => line.split('|')[1]);
        const binding = {
          medium: 'email',
          address,
          mxid: bob.userId,
          invites: [
            {
              medium: 'email',
              address,
              mxid: bob.userId,
              room_id: roomId,
              sender: alice.userId,
              signed: identity.proof(bob.userId, token!),
            },
          ],
        };
        const path = '/_matrix/federation/v1/3pid/onbind';
        const { status } = await rig()[guest].askUnsigned('PUT', path, binding);
        // Synapse takes it as identity servers send it, not as it is specified.
        if (status === 405) expect((await rig()[guest].askUnsigned('POST', path, binding)).status).to.equal(200);
        else expect(status).to.equal(200);
        await bob.isIn(roomId, 'invite');
        await bob.join(roomId, alice.serverName);
        await alice.sees(roomId, await bob.say(roomId, 'found'));
        await sameState(roomId, alice, bob);
      });
    });
  });
}
