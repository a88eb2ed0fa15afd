import { Type } from 'typebox';
import type { AdminTasks } from '#src/services/admin/tasks/admin-tasks.ts';
import { TASK_STATUSES } from '#src/services/admin/tasks/task.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import { anyObject } from '../client-server/parts/room-schemas.ts';

const orNull = Type.Union([Type.String(), Type.Null()]);
const statuses = Type.Optional(Type.Array(Type.Enum([...TASK_STATUSES])));
/** Synapse lists all tasks; here they are deleted seven days after their end. */
export const MAX = 1_000;

interface Services {
  readonly adminTasks: AdminTasks;
}

type Task = Awaited<ReturnType<Services['adminTasks']['list']>>['tasks'][number];

const bodyOf = ({ action, error, id, resource, result, status, updatedTs }: Task) => ({
  id,
  action,
  status,
  timestamp_ms: updatedTs,
  resource_id: resource ?? null,
  result: Object.keys(result).length === 0 ? null : result,
  error: error ?? null,
});

export const scheduledTaskEndpoints = [
  endpoint({
    operationId: 'adminListScheduledTasks',
    summary: 'Lists the tasks of administrators, the newest first.',
    method: 'GET',
    path: '/_synapse/admin/v1/scheduled_tasks',
    ...OF_ADMINISTRATORS,
    query: Type.Object({
      action_name: Type.Optional(Type.Array(Type.String())),
      resource_id: Type.Optional(Type.String()),
      status: statuses,
      /** Its older name. */
      job_status: statuses,
      max_timestamp: Type.Optional(Type.Integer()),
    }),
    response: Type.Object({
      scheduled_tasks: Type.Array(
        Type.Object({
          id: Type.String(),
          action: Type.String(),
          status: Type.String(),
          timestamp_ms: Type.Integer(),
          resource_id: orNull,
          result: Type.Union([anyObject, Type.Null()]),
          error: orNull,
        }),
      ),
    }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ adminTasks }: Services, { query }) {
      const filter = {
        actions: query.action_name,
        resource: query.resource_id,
        statuses: query.status ?? query.job_status,
        updatedBefore: query.max_timestamp === undefined ? undefined : query.max_timestamp + 1,
      };
      const { tasks } = await adminTasks.list(filter, { limit: MAX });
      return {
        scheduled_tasks: tasks.map(bodyOf),
      };
    },
  }),
];
