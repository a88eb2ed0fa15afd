/** Texts that are remembered at once: one event makes as many different frames as its readers have different unread counts. */
const KEEP = 16;
/** Longer ones are catch-ups, which no other client gets. */
const MAX_LENGTH = 32 * 1024;

/** UTF-8 of frames: a text that goes to many sockets is encoded once. */
export class SharedFrames {
  readonly #frames = new Map<string, Buffer>();

  bytes(text: string): Buffer {
    if (text.length > MAX_LENGTH) return Buffer.from(text);
    const known = this.#frames.get(text);
    if (known !== undefined) return known;
    const bytes = Buffer.from(text);
    if (this.#frames.size >= KEEP) {
      for (const oldest of this.#frames.keys()) {
        this.#frames.delete(oldest);
        break;
      }
    }
    this.#frames.set(text, bytes);
    return bytes;
  }
}
