import type { Clock } from '#src/kernel/clock.ts';
import { TimedCache } from '#src/kernel/caches/timed-cache.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomAlias, isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { ApplicationServicesApi } from '#src/remote/application-services.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import { instanceIdOf } from '#src/services/accounts/appservices/networks.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';

/** What a protocol is searched by, and the networks that speak it. Application Service API, "Third-party networks". */
export interface Protocol {
  readonly user_fields: readonly string[];
  readonly location_fields: readonly string[];
  readonly icon: string;
  readonly field_types: JsonObject;
  readonly instances: readonly ProtocolInstance[];
}

interface ProtocolInstance {
  readonly desc: string;
  readonly icon?: string;
  readonly fields: JsonObject;
  readonly network_id: string;
  /** By which the room directory is asked for the rooms of this network: unique on this server. */
  readonly instance_id: string;
}

/** How long a service's answer about a protocol is cached, and that it gave none. */
const METADATA_MS = 3_600_000;
const SILENCE_MS = 60_000;
/** Lookups of one service at once: one that is slow must not keep the places for requests to all services. */
export const LOOKUPS_AT_ONCE = 32;
const TIMEOUTS = { headersMs: 5_000, bodyMs: 5_000, totalMs: 8_000 };
export const MAX_BODY_BYTES = 262_144;
/** Results of one service, instances of a protocol, fields of a search and characters of each. */
export const MAX_RESULTS = 100;
const MAX_INSTANCES = 200;
const MAX_FIELDS = 20;
const MAX_FIELD_LENGTH = 512;

/**
 * Looks users and places of other networks up, by asking the application services that bridge them: at once, and without those that do not
 * answer. Client-Server API, "Third-party Lookup".
 */
export class ThirdPartyLookups {
  readonly #appservices: Appservices;
  readonly #api: Pick<ApplicationServicesApi, 'request'>;
  /** Lookups that are under way, by service. */
  readonly #open = new Map<string, number>();
  readonly #metadata: TimedCache<{ readonly protocol: Protocol | undefined }>;

  constructor(deps: {
    readonly appservices: Appservices;
    readonly api: Pick<ApplicationServicesApi, 'request'>;
    readonly clock: Clock;
  }) {
    this.#appservices = deps.appservices;
    this.#api = deps.api;
    this.#metadata = new TimedCache({
      name: 'third_party_protocols',
      clock: deps.clock,
      maxSize: 1_000,
      lifetimeMs: ({ protocol }) => (protocol === undefined ? SILENCE_MS : METADATA_MS),
    });
    deps.appservices.changed.subscribe(() => this.#metadata.clear());
  }

  /** All protocols of which a service says something, by name. */
  async protocols(): Promise<Readonly<Record<string, Protocol>>> {
    const names = [...new Set(this.#appservices.all().flatMap(({ protocols }) => protocols))];
    const known = await Promise.all(names.map(async (name) => [name, await this.#protocol(name)] as const));
    return Object.fromEntries(known.flatMap(([name, protocol]) => (protocol === undefined ? [] : [[name, protocol]])));
  }

  /** One protocol, with the networks of all services that speak it. @throws MatrixError M_NOT_FOUND */
  async protocol(name: string): Promise<Protocol> {
    const protocol = await this.#protocol(name);
    if (protocol === undefined) throw unknownProtocol(name);
    return protocol;
  }

  /** Users of a network, by fields that its protocol has. @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM (too many fields) */
  users(protocol: string, fields: Readonly<Record<string, string>>): Promise<JsonObject[]> {
    return this.#search(`user/${encodeURIComponent(protocol)}`, this.#speaking(protocol), fields, isUser);
  }

  /** Places of a network that rooms lead to. @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM (too many fields) */
  locations(protocol: string, fields: Readonly<Record<string, string>>): Promise<JsonObject[]> {
    return this.#search(`location/${encodeURIComponent(protocol)}`, this.#speaking(protocol), fields, isLocation);
  }

  /** A Matrix user's identities on other networks. */
  usersOf(userId: string): Promise<JsonObject[]> {
    return this.#search('user', this.#bridging(), { userid: userId }, isUser);
  }

  /** The places of other networks that an alias leads to. */
  locationsOf(alias: string): Promise<JsonObject[]> {
    return this.#search('location', this.#bridging(), { alias }, isLocation);
  }

  #bridging(): readonly ApplicationService[] {
    return this.#appservices.all().filter(({ protocols }) => protocols.length > 0);
  }

  #speaking(protocol: string): readonly ApplicationService[] {
    const speaking = this.#appservices.all().filter(({ protocols }) => protocols.includes(protocol));
    if (speaking.length === 0) throw unknownProtocol(protocol);
    return speaking;
  }

  async #protocol(name: string): Promise<Protocol | undefined> {
    const speaking = this.#appservices.all().filter(({ protocols }) => protocols.includes(name));
    const said = await Promise.all(
      speaking.map((service) => this.#metadata.get(`${service.id} ${name}`, () => this.#askMetadata(service, name))),
    );
    const protocols = said.flatMap(({ protocol }) => protocol ?? []);
    const [first] = protocols;
    return first === undefined ? undefined : { ...first, instances: protocols.flatMap(({ instances }) => instances) };
  }

  async #askMetadata(service: ApplicationService, name: string): Promise<{ readonly protocol: Protocol | undefined }> {
    const answer = await this.#ask(service, `protocol/${encodeURIComponent(name)}`);
    return { protocol: protocolIn(answer, service) };
  }

  async #search(
    path: string,
    services: readonly ApplicationService[],
    fields: Readonly<Record<string, string>>,
    isResult: (result: JsonObject) => boolean,
  ): Promise<JsonObject[]> {
    const entries = Object.entries(fields);
    if (entries.length > MAX_FIELDS || entries.some((entry) => entry.some((text) => text.length > MAX_FIELD_LENGTH)))
      throw new MatrixError(
        'M_INVALID_PARAM',
        `A search has at most ${MAX_FIELDS} fields with at most ${MAX_FIELD_LENGTH} characters.`,
      );
    const query = new URLSearchParams(entries);
    const answers = await Promise.all(services.map((service) => this.#ask(service, path, query)));
    return answers.flatMap((answer) =>
      Array.isArray(answer) ? answer.filter(isMap).filter(isResult).slice(0, MAX_RESULTS) : [],
    );
  }

  /** The JSON that a service answers; undefined where there is none. */
  async #ask(service: ApplicationService, path: string, query?: URLSearchParams): Promise<JsonValue | undefined> {
    const { id } = service;
    const open = this.#open.get(id) ?? 0;
    if (service.url === null || open >= LOOKUPS_AT_ONCE) return undefined;
    this.#open.set(id, open + 1);
    try {
      return await this.#askNow({ ...service, url: service.url }, path, query);
    } finally {
      const left = (this.#open.get(id) ?? 1) - 1;
      if (left > 0) this.#open.set(id, left);
      else this.#open.delete(id);
    }
  }

  async #askNow(
    { hsToken, id, url }: Pick<ApplicationService, 'hsToken' | 'id'> & { readonly url: string },
    path: string,
    query?: URLSearchParams,
  ): Promise<JsonValue | undefined> {
    const answer = await this.#api.request(
      { id, url, hsToken },
      {
        method: 'GET',
        path: `/thirdparty/${path}`,
        legacyPath: `/_matrix/app/unstable/thirdparty/${path}`,
        query,
        maxBodyBytes: MAX_BODY_BYTES,
        timeouts: TIMEOUTS,
      },
    );
    if (!answer.ok || answer.status !== 200) return undefined;
    try {
      return JSON.parse(answer.body.toString()) as JsonValue;
    } catch {
      return undefined;
    }
  }
}

const unknownProtocol = (name: string): MatrixError =>
  new MatrixError('M_NOT_FOUND', `No bridge of this server knows the protocol ${name}.`);

const isMap = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isUser = ({ fields, protocol, userid }: JsonObject): boolean =>
  isUserId(userid) && typeof protocol === 'string' && isMap(fields);

const isLocation = ({ alias, fields, protocol }: JsonObject): boolean =>
  isRoomAlias(alias) && typeof protocol === 'string' && isMap(fields);

const textsIn = (value: JsonValue | undefined): readonly string[] =>
  Array.isArray(value) ? value.filter((text) => typeof text === 'string') : [];

/** What a service says of a protocol; undefined when that says nothing. */
const protocolIn = (answer: JsonValue | undefined, service: ApplicationService): Protocol | undefined => {
  if (!isMap(answer)) return undefined;
  const { field_types: types, icon, instances, location_fields: locations, user_fields: users } = answer;
  if (!Array.isArray(users) || !Array.isArray(locations)) return undefined;
  return {
    user_fields: textsIn(users),
    location_fields: textsIn(locations),
    icon: typeof icon === 'string' ? icon : '',
    field_types: isMap(types) ? Object.fromEntries(Object.entries(types).filter(([, type]) => isFieldType(type))) : {},
    instances: (Array.isArray(instances) ? instances : [])
      .flatMap((instance) => instanceIn(instance, service) ?? [])
      .slice(0, MAX_INSTANCES),
  };
};

const isFieldType = (type: JsonValue | undefined): boolean =>
  isMap(type) && typeof type['regexp'] === 'string' && typeof type['placeholder'] === 'string';

const instanceIn = (instance: JsonValue, service: ApplicationService): ProtocolInstance | undefined => {
  if (!isMap(instance)) return undefined;
  const { desc, fields, icon, network_id: networkId } = instance;
  if (typeof desc !== 'string' || typeof networkId !== 'string') return undefined;
  return {
    desc,
    ...(typeof icon === 'string' ? { icon } : {}),
    fields: isMap(fields) ? fields : {},
    network_id: networkId,
    instance_id: instanceIdOf(service.id, networkId),
  };
};
