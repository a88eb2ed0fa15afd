import { Signal } from '#src/kernel/signal.ts';
import type { AppserviceTransaction, Sent } from '../transactions/transaction.ts';

/** A WebSocket that an application service has open. */
export interface AppserviceSocket {
  /** Sends a transaction, and waits until it says that it has it. */
  deliver(transaction: AppserviceTransaction, signal: AbortSignal): Promise<Sent>;
  /** Closes it: the service has another one open, or the server ends. */
  replace(): void;
}

/** The WebSockets of application services: the newest one of each. */
export class OpenSockets {
  readonly #sockets = new Map<string, AppserviceSocket>();
  /** Fires when a service opened or closed one. */
  readonly changed = new Signal<{ readonly service: string; readonly isOpen: boolean }>();

  of(service: string): AppserviceSocket | undefined {
    return this.#sockets.get(service);
  }

  add(service: string, socket: AppserviceSocket): void {
    const before = this.#sockets.get(service);
    this.#sockets.set(service, socket);
    before?.replace();
    this.changed.emit({ service, isOpen: true });
  }

  /** One was closed. What was sent over it and not answered comes again. */
  remove(service: string, socket: AppserviceSocket): void {
    if (this.#sockets.get(service) !== socket) return;
    this.#sockets.delete(service);
    this.changed.emit({ service, isOpen: false });
  }
}
