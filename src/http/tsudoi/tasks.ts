import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import { TASK_STATUSES, type TaskRecord } from '#src/services/admin/tasks/task.ts';
import { actorOf } from '../actor.ts';
import { anyObject } from '../client-server/parts/room-schemas.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from '../synapse-admin/parts/access.ts';

const root = '/_tsudoi/admin/v1/tasks';
const params = Type.Object({ taskId: Type.String() });
const text = Type.Optional(Type.String());
const shown = Type.Object({
  id: Type.String(),
  action: Type.String(),
  resource: text,
  params: anyObject,
  status: Type.Enum([...TASK_STATUSES]),
  /** It is running, and stops at its next step. */
  cancelling: Type.Boolean(),
  result: anyObject,
  error: text,
  requested_by: Type.Union([Type.String(), Type.Null()]),
  via: Type.String(),
  created_ts: Type.Integer(),
  updated_ts: Type.Integer(),
});

interface Services {
  readonly adminTasks: AdminTasks;
}

const bodyOf = (task: TaskRecord) => ({
  id: task.id,
  action: task.action,
  resource: task.resource,
  params: task.params,
  status: task.status,
  cancelling: task.isCancelled && task.status === 'active',
  result: task.result,
  error: task.error,
  requested_by: task.requestedBy ?? null,
  via: task.via,
  created_ts: task.createdTs,
  updated_ts: task.updatedTs,
});

/** Long-running tasks of administrators. */
export const taskEndpoints = [
  endpoint({
    operationId: 'adminListTasks',
    summary: 'Lists the tasks of administrators, the newest first.',
    method: 'GET',
    path: root,
    ...OF_ADMINISTRATORS,
    query: Type.Object({
      action: text,
      resource: text,
      status: Type.Optional(Type.Enum([...TASK_STATUSES])),
      from: text,
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000, default: 100 })),
    }),
    response: Type.Object({ tasks: Type.Array(shown), next_batch: text }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ adminTasks }: Services, { query: { action, from, limit = 100, resource, status } }) {
      const one = <T>(value: T | undefined): readonly T[] | undefined => (value === undefined ? undefined : [value]);
      const filter = { actions: one(action), resource, statuses: one(status) };
      const { tasks, next } = await adminTasks.list(filter, { limit, from });
      return { tasks: tasks.map(bodyOf), next_batch: next };
    },
  }),
  endpoint({
    operationId: 'adminGetTask',
    summary: 'A task of administrators, with how far it has come.',
    method: 'GET',
    path: `${root}/{taskId}`,
    ...OF_ADMINISTRATORS,
    params,
    response: shown,
    errcodes: ['M_NOT_FOUND'],
    async handler({ adminTasks }: Services, { params: { taskId } }) {
      const task = await adminTasks.get(taskId);
      if (task === undefined) throw new MatrixError('M_NOT_FOUND', 'There is no such task.');
      return bodyOf(task);
    },
  }),
  endpoint({
    operationId: 'adminCancelTask',
    summary: 'Ends a task: at once while it waits, at its next step when it is being done.',
    method: 'POST',
    path: `${root}/{taskId}/cancel`,
    ...OF_ADMINISTRATORS,
    params,
    response: shown,
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ adminTasks }: Services, { requester, info, params: { taskId } }) =>
      bodyOf(await adminTasks.cancel(actorOf(requester, info), taskId)),
  }),
];
