import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { FullStates, type FullStatesOptions } from '#src/services/federation/partial-state/full-states.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

describe('the servers that are asked for the full state of a room', () => {
  const refused = { ok: false, kind: 'refused', error: 'no' } as const;

  /** The servers that are looked at and asked in one attempt, of so many that are in the room. */
  const attempt = async (servers: number, isAllowed: (server: string) => boolean) => {
    const looked: string[] = [];
    const asked: string[] = [];
    const states = new FullStates({
      loader: { one: () => Promise.resolve({ eventId: '$join' }) },
      history: {
        stateStream: (server: string) => {
          asked.push(server);
          return Promise.resolve(refused);
        },
      },
      policy: { allows: () => true },
      reader: { isPaused: () => false },
      stream: { on: () => undefined },
      timers: {
        after: () => ({ cancel: () => undefined }),
        sleep: (_ms: number, signal: AbortSignal) =>
          new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve())),
      },
      logger: silentLogger,
      waitMs: 1,
    } as unknown as FullStatesOptions);
    const room = {
      nid: 1,
      roomId: '!room:via.test',
      partial: { via: 'via.test', before: [], join: 1 },
      remoteServers: () => Array.from({ length: servers }, (_, i) => `s${i}.test`),
      allowsServer: (server: string) => {
        looked.push(server);
        return isAllowed(server);
      },
    } as unknown as Room;
    states.begin(room);
    await states.attempt(room);
    await states.close();
    return { looked, asked };
  };

  it('are few, the one of the join first', async () => {
    const { asked } = await attempt(20_000, (server) => server !== 's0.test');
    expect(asked).to.deep.equal(['via.test', 's1.test', 's2.test', 's3.test', 's4.test']);
  });

  it('are looked for among few, also where the ACL shuts out all that are in it', async () => {
    const { looked, asked } = await attempt(20_000, () => false);
    expect(looked).to.have.length.at.most(20);
    expect(asked).to.deep.equal(['via.test']);
  });
});
