import { isUserIdOf } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject, isWellFormedJson, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { RemoteDeviceLists } from '#src/services/e2ee/device-lists/remote-device-lists.ts';
import type { DeviceMessages, ToDeviceService } from '#src/services/e2ee/to-device/to-device-service.ts';
import type { EduHandler, EduHandlers } from '#src/services/federation/inbound/edu-handlers.ts';
import type { PresenceEdus } from './presence-edus.ts';
import type { ReceiptEdus } from './receipt-edus.ts';
import type { TypingEdus } from './typing-edus.ts';

/** "The maximum length of 32 codepoints" is what servers may send; somewhat more does no harm. */
const MAX_MESSAGE_ID_LENGTH = 255;
const MAX_TYPE_LENGTH = 255;

export interface EduReceptionOptions {
  readonly toDevice: ToDeviceService;
  readonly remoteDeviceLists: RemoteDeviceLists;
  readonly receipts: ReceiptEdus;
  readonly typing: TypingEdus;
  /** Undefined when presence is not federated. */
  readonly presence: PresenceEdus | undefined;
}

/** Receives the EDUs of other servers. What is malformed, or about users of a third server, is dropped. Server-Server API, "EDUs". */
export class EduReception {
  /** By `edu_type`. */
  readonly handlers: EduHandlers;
  readonly #options: EduReceptionOptions;

  constructor(options: EduReceptionOptions) {
    this.#options = options;
    const { presence, receipts, remoteDeviceLists, typing } = options;
    const signingKeys: EduHandler = {
      all: (origin, contents) => remoteDeviceLists.receiveSigningKeys(origin, contents),
    };
    this.handlers = {
      'm.direct_to_device': { each: (origin, content) => this.#directToDevice(origin, content) },
      'm.device_list_update': { all: (origin, contents) => remoteDeviceLists.receiveUpdates(origin, contents) },
      'm.signing_key_update': signingKeys,
      'org.matrix.signing_key_update': signingKeys,
      'm.receipt': { all: (origin, contents) => receipts.receive(origin, contents) },
      'm.typing': { all: (origin, contents) => typing.receive(origin, contents) },
      ...(presence === undefined
        ? {}
        : {
            'm.presence': {
              all: (origin: string, contents: readonly JsonObject[]) => presence.receive(origin, contents),
            },
          }),
    };
  }

  /** @throws MatrixError M_TOO_LARGE */
  async #directToDevice(origin: string, content: JsonObject): Promise<void> {
    const { message_id: messageId, messages, sender, type } = content;
    if (!isUserIdOf(origin, sender) || typeof type !== 'string' || type.length > MAX_TYPE_LENGTH) return;
    if (typeof messageId !== 'string' || messageId.length > MAX_MESSAGE_ID_LENGTH) return;
    if (!isJsonObject(messages) || !isWellFormedJson({ type, messages })) return;
    await this.#options.toDevice.receive(origin, messageId, sender, type, messagesIn(messages));
  }
}

/** The valid messages of an `m.direct_to_device`. */
const messagesIn = (given: JsonObject): DeviceMessages =>
  Object.fromEntries(
    Object.entries(given).flatMap(([userId, devices]) => {
      if (!isJsonObject(devices)) return [];
      const messages = Object.entries(devices).filter((entry): entry is [string, JsonObject] => isJsonObject(entry[1]));
      return [[userId, Object.fromEntries(messages)] as const];
    }),
  );
