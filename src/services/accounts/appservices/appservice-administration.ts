import type { Clock } from '#src/kernel/clock.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonValue } from '#src/protocol/json/json-value.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { AuditLog } from '#src/services/audit/audit-log.ts';
import { deleteAppservice, putAppservice } from '#src/storage/accounts/appservices.ts';
import type { Database } from '#src/storage/database.ts';
import type { ApplicationService } from './application-service.ts';
import { type Appservices, DATABASE } from './appservices.ts';
import { readRegistration, RegistrationConflict, RegistrationProblem, withoutToken } from './registration.ts';
import type { AppserviceSenders } from './senders.ts';

/** The source in error messages for a registration that an administrator sends. */
const GIVEN = 'that was sent';

export interface AppserviceAdministrationDependencies {
  readonly database: Database;
  readonly clock: Clock;
  readonly serverName: string;
  readonly appservices: Appservices;
  readonly senders: AppserviceSenders;
  readonly auditLog: AuditLog;
}

/** Adds, replaces and removes registrations of application services at run time; these are stored in the database. */
export class AppserviceAdministration {
  readonly #deps: AppserviceAdministrationDependencies;
  readonly #turns = new SerialByKey<'change'>();

  constructor(deps: AppserviceAdministrationDependencies) {
    this.#deps = deps;
  }

  /** All registrations that are in force. */
  list(): readonly ApplicationService[] {
    return this.#deps.appservices.all();
  }

  /** @throws MatrixError M_NOT_FOUND */
  get(id: string): ApplicationService {
    const service = this.#deps.appservices.byId(id);
    if (service === undefined)
      throw new MatrixError('M_NOT_FOUND', `No application service with the id ${id} is registered.`);
    return service;
  }

  /**
   * Registers a service, at once.
   *
   * @param registration in the specification's spelling
   * @throws MatrixError M_INVALID_PARAM with all that is wrong with it, and when there is one with its id
   */
  add(actor: Actor, registration: unknown): Promise<ApplicationService> {
    return this.#put(actor, registration, undefined);
  }

  /**
   * Registers a service in the place of the one with its id, or adds it.
   *
   * @throws MatrixError M_INVALID_PARAM with all that is wrong with it, and when that one is registered by a file
   */
  replace(actor: Actor, id: string, registration: unknown): Promise<ApplicationService> {
    return this.#put(actor, registration, id);
  }

  /**
   * Removes a registration. The users that the service created stay.
   *
   * @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM for one of a file
   */
  remove(actor: Actor, id: string): Promise<void> {
    return this.#turns.run('change', async () => {
      const { appservices, auditLog, database } = this.#deps;
      const before = this.get(id);
      assertNotOfFile(before);
      await database.write(async (tx) => {
        await deleteAppservice(tx, id);
        await auditLog.record(tx, actor, { action: 'appservice.remove', target: id, before: shownOf(before) });
      });
      await appservices.loadAdded();
    });
  }

  /** Has the files of registrations read again. @throws MatrixError M_INVALID_PARAM with what is wrong with them: all stays as it was */
  reload(actor: Actor): Promise<readonly ApplicationService[]> {
    return this.#turns.run('change', async () => {
      const { appservices, auditLog, database, senders } = this.#deps;
      const before = appservices.all().map(({ id }) => id);
      try {
        await appservices.load();
      } catch (error) {
        throw asMatrixError(error);
      }
      await senders.ensure();
      const after = appservices.all().map(({ id }) => id);
      await database.write((tx) => auditLog.record(tx, actor, { action: 'appservice.reload', before, after }));
      return appservices.all();
    });
  }

  #put(actor: Actor, given: unknown, id: string | undefined): Promise<ApplicationService> {
    return this.#turns.run('change', async () => {
      const { appservices, auditLog, clock, database, senders, serverName } = this.#deps;
      let kept, service;
      try {
        kept = withoutToken(given, GIVEN);
        service = await readRegistration(kept, GIVEN, serverName);
        appservices.assertFits(service);
      } catch (error) {
        throw asMatrixError(error);
      }
      if (id !== undefined && service.id !== id)
        throw new MatrixError('M_INVALID_PARAM', `The id of the registration is ${service.id}, and not ${id}.`);
      const before = appservices.byId(service.id);
      if (before !== undefined) assertNotOfFile(before);
      if (before !== undefined && id === undefined)
        throw new MatrixError(
          'M_INVALID_PARAM',
          `An application service with the id ${service.id} is registered: replace it.`,
        );
      const { asTokenHash, registration } = kept;
      const record = {
        id: service.id,
        asTokenHash,
        registration: JSON.stringify(registration),
        createdTs: clock.now(),
      };
      await database.write(async (tx) => {
        await putAppservice(tx, record);
        await auditLog.record(tx, actor, {
          action: before === undefined ? 'appservice.add' : 'appservice.replace',
          target: record.id,
          before: before === undefined ? undefined : shownOf(before),
          after: shownOf(service),
        });
      });
      await appservices.loadAdded();
      await senders.ensure();
      return this.get(record.id);
    });
  }
}

/** A registration without its tokens. */
const shownOf = ({ shown }: ApplicationService): JsonValue => shown as JsonValue;

function assertNotOfFile({ id, source }: ApplicationService): void {
  if (source !== DATABASE)
    throw new MatrixError(
      'M_INVALID_PARAM',
      `The application service ${id} is registered by the file ${source}: change that.`,
    );
}

/** The error of a registration, for the administrator who sent it. */
const asMatrixError = (error: unknown): unknown =>
  error instanceof RegistrationProblem || error instanceof RegistrationConflict
    ? new MatrixError('M_INVALID_PARAM', error.message)
    : error;
