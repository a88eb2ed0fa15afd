import { InProcessServer, type ConfigChanges, type InProcessServerOptions } from '#test/support/in-process-server.ts';
import { PushGateway } from '#test/support/stand-ins/push-gateway.ts';

/** For how long events may be read before they are pushed. */
export const GRACE_MS = 1_000;

/** Loopback is where the tests' push gateways are. */
export const WITH_GATEWAYS: ConfigChanges = {
  federation: { allowIpRanges: ['127.0.0.0/8'] },
  push: { graceMs: GRACE_MS },
};

/** A server, and a push gateway that its users have pushers at. */
export class PushServer {
  readonly app: InProcessServer;
  readonly gateway: PushGateway;

  private constructor(app: InProcessServer, gateway: PushGateway) {
    this.app = app;
    this.gateway = gateway;
  }

  static async start(options: InProcessServerOptions = {}): Promise<PushServer> {
    const { config = {}, ...more } = options;
    const app = await InProcessServer.start({
      ...more,
      config: { ...WITH_GATEWAYS, ...config, push: { ...WITH_GATEWAYS.push, ...config.push } },
    });
    return new PushServer(app, await PushGateway.start());
  }

  async stop(): Promise<void> {
    await this.app.stop();
    await this.gateway.stop();
  }

  /** A pusher as its owner sets it. */
  pusher(pushkey: string, changes: object = {}, data: object = {}): Record<string, unknown> {
    return {
      kind: 'http',
      app_id: 'test.app',
      pushkey,
      app_display_name: 'Test',
      device_display_name: 'A phone',
      lang: 'en',
      data: { url: this.gateway.url, ...data },
      ...changes,
    };
  }

  /** Gives somebody a pusher, whose pushkey is their name if nothing else is said. */
  async push(token: string, changes: object = {}, data: object = {}): Promise<void> {
    await this.app.must(token, 'POST', '/pushers/set', this.pusher(token, changes, data));
  }

  /** A room in which these are, made by the first of them. */
  async room(creator: string, ...others: string[]): Promise<string> {
    const roomId = await this.app.room(creator, { preset: 'public_chat' });
    for (const one of others) await this.app.join(one, roomId);
    return roomId;
  }

  /** Lets the grace time pass, and all that is due be told. */
  async settle(ms = GRACE_MS): Promise<void> {
    await this.app.idle();
    await this.app.clock.advance(ms);
    await this.app.idle();
  }

  /** What the gateway was told since the last time, once everything is told. */
  // oxlint-disable-next-line typescript/no-explicit-any
  async told(): Promise<any[]> {
    await this.settle();
    return this.gateway.take();
  }

  /** The events among it. */
  // oxlint-disable-next-line typescript/no-explicit-any
  async pushed(): Promise<any[]> {
    return (await this.told()).filter(({ event_id: eventId }) => eventId !== undefined);
  }

  read(token: string, roomId: string, eventId: string, kind = 'm.read', body: object = {}): Promise<unknown> {
    return this.app.must(token, 'POST', `/rooms/${roomId}/receipt/${kind}/${eventId}`, body);
  }
}
