import { expect } from 'chai';
import { readFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';

const sources = async (pattern: string): Promise<{ readonly path: string; readonly text: string }[]> => {
  const found = [];
  for await (const path of glob(pattern)) found.push({ path, text: readFileSync(path, 'utf8') });
  return found.toSorted((a, b) => a.path.localeCompare(b.path));
};

const CLOSING: Readonly<Record<string, number>> = { '(': 1, '[': 1, '{': 1, ')': -1, ']': -1, '}': -1 };

/** Calls that begin with what a pattern finds, each up to its closing bracket. */
const callsOf = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(({ 0: { length }, index }) => {
    let end = index + length;
    for (let depth = 1; depth > 0 && end < text.length; end++) depth += CLOSING[text[end] ?? ''] ?? 0;
    return text.slice(index, end);
  });

/** The services that publish each kind of what happens to rooms and accounts: whoever writes such a change in another way publishes it too. */
const PUBLISHERS: Readonly<Record<string, readonly string[]>> = {
  appended: [
    'events/receiving/received-plan.ts',
    'events/stream/event-pipeline.ts',
    'federation/out-of-band/out-of-band-memberships.ts',
    'federation/room-import/room-import.ts',
  ],
  stored: [
    'events/receiving/backfill-receiver.ts',
    'events/receiving/outlier-store.ts',
    'events/receiving/received-plan.ts',
  ],
  restored: [
    'events/receiving/backfill-receiver.ts',
    'events/receiving/late-redactions.ts',
    'retention/archive-import.ts',
  ],
  revealed: ['events/receiving/late-redactions.ts', 'events/receiving/sticky-review.ts'],
  purged: ['retention/history-purge.ts'],
  completed: ['federation/partial-state/room-completion.ts'],
  deleted: ['admin/rooms/room-purge.ts'],
  registered: ['accounts/users/user-service.ts'],
  changed: ['accounts/users/user-service.ts'],
  deactivated: ['accounts/sessions/account-service.ts'],
  session_ended: ['accounts/sessions/session-service.ts'],
  admin_login_ended: ['accounts/sessions/session-service.ts', 'accounts/users/ending-admin-logins.ts'],
  device_changed: ['accounts/devices/device-service.ts', 'accounts/sessions/session-service.ts'],
};

describe('who reacts to events and accounts', () => {
  it('is a service: what composes the server listens to no stream and to no signal of one', async () => {
    const files = await sources('src/app/**/*.ts');
    expect(files.length).to.be.greaterThan(20);
    const listening = files.flatMap(({ path, text }) =>
      text
        .split('\n')
        .flatMap((line) => (/(?<!\bprocess)\.(on|subscribe)\(/.test(line) ? [`${path}: ${line.trim()}`] : [])),
    );
    expect(listening).to.deep.equal([]);
  });

  it('hears of it from the service that made the change: each kind is published in these files', async () => {
    const found: Record<string, string[]> = {};
    for (const { path, text } of await sources('src/**/*.ts'))
      for (const call of callsOf(text, /\.publish\(/g))
        for (const [, kind = ''] of call.matchAll(/\bkind: '(\w+)'/g))
          found[kind] = [...new Set([...(found[kind] ?? []), path.replace('src/services/', '')])];
    expect(found).to.deep.equal(PUBLISHERS);
  });

  it('listens in the turn: no listener of a stream or a signal waits or begins what goes on after it', async () => {
    const listeners = (await sources('src/**/*.ts')).flatMap(({ path, text }) =>
      callsOf(text, /[sS]tream\.on\(|\.subscribe\(/g).map((call) => `${path}: ${call}`),
    );
    expect(listeners.length).to.be.greaterThan(60);
    expect(listeners.filter((one) => /\basync\b|\bawait\b|\bvoid\b|\.then\(|\.catch\(/.test(one))).to.deep.equal([]);
  });

  it('waits for what it begins, or a comment above says what a kill makes of it', async () => {
    const begun = (await sources('src/{app,services,ws}/**/*.ts')).flatMap(({ path, text }) => {
      const lines = text.split('\n');
      return lines.flatMap((line, index) =>
        /(?<!\): |=> |\| |<)\bvoid (?:this|[a-z]\w*)[.(#]|=> void (?:this\.#?)?\w+\(/.test(line)
          ? { at: `${path}: ${line.trim()}`, isExplained: /^\s*\/\//.test(lines[index - 1] ?? '') }
          : [],
      );
    });
    expect(begun.length).to.be.greaterThan(10);
    expect(begun.filter(({ isExplained }) => !isExplained).map(({ at }) => at)).to.deep.equal([]);
  });
});
