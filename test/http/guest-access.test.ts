import { readFileSync } from 'node:fs';
import { expect } from 'chai';

interface Operation {
  readonly operationId: string;
  readonly 'x-authentication': string;
  readonly 'x-guests'?: boolean;
}

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
const { paths } = JSON.parse(read('spec/client-server.openapi.json')) as {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
};
const operations = Object.values(paths).flatMap((methods) => Object.values(methods));
const listed = new Set(
  read('docs/guests.md')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) => line.split('|')[1]?.match(/\w+/g) ?? []),
);

describe('endpoints that are open to guests', () => {
  it('are those that docs/guests.md gives a reason for', () => {
    expect(listed.size).to.be.greaterThan(30);
    const open = operations.filter((one) => one['x-guests'] === true && one['x-authentication'] === 'accessToken');
    expect(open.length).to.be.greaterThan(25);
    for (const { operationId } of open) expect(listed.has(operationId), `${operationId} has no reason`).to.equal(true);
  });
  it('are all that docs/guests.md names', () => {
    for (const one of operations) {
      if (!listed.has(one.operationId)) continue;
      expect(one['x-guests'], one.operationId).to.equal(true);
    }
  });
});
