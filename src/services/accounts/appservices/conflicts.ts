import { type ApplicationService, isExclusiveIn, type Namespace } from './application-service.ts';
import { sampleOf } from './namespace-pattern.ts';

const named = ({ id, source }: ApplicationService): string => `${id} (${source})`;

/** A value that is in exclusive namespaces of both lists. */
function commonOf(ours: readonly Namespace[], theirs: readonly Namespace[]): string | undefined {
  const samplesOf = (namespaces: readonly Namespace[]): string[] =>
    namespaces.flatMap(({ exclusive, pattern }) => (exclusive ? (sampleOf(pattern) ?? []) : []));
  return (
    samplesOf(ours).find((sample) => isExclusiveIn(theirs, sample)) ??
    samplesOf(theirs).find((sample) => isExclusiveIn(ours, sample))
  );
}

/**
 * Why two registrations conflict; undefined when they do not. "Each `as_token` and `id` MUST be unique per application service
 * [...]. The homeserver MUST enforce this." Exclusive namespaces are compared by examples of what they hold.
 */
export function conflictOf(one: ApplicationService, other: ApplicationService): string | undefined {
  const both = `The registrations ${named(one)} and ${named(other)}`;
  if (one.id === other.id) return `${both} have the same id.`;
  if (one.asTokenHash === other.asTokenHash) return `${both} have the same as_token.`;
  if (one.sender === other.sender) return `${both} have the same sender_localpart.`;
  for (const kind of ['users', 'aliases'] as const) {
    const common = commonOf(one.namespaces[kind], other.namespaces[kind]);
    if (common !== undefined) return `${both} both have ${kind} such as ${common} for themselves alone (exclusive).`;
  }
  for (const [ours, theirs] of [
    [one, other],
    [other, one],
  ] as const)
    if (isExclusiveIn(theirs.namespaces.users, ours.sender))
      return `The sender ${ours.sender} of the registration ${named(ours)} is in a namespace that ${named(theirs)} has for itself.`;
  return undefined;
}
