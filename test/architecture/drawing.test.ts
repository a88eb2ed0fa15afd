import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'chai';

const file = (path: string): URL => new URL(`../../${path}`, import.meta.url);
const foldersOf = (path: string): string[] =>
  readdirSync(file(path), { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);

describe('the drawing in docs/architecture.md', () => {
  const drawing = readFileSync(file('docs/architecture.md'), 'utf8').split('```')[1] ?? '';

  it('has every folder of src/, and none that is not there', () => {
    const drawn = [...drawing.matchAll(/([a-z-]+)\//g)].map(([, name]) => name);
    expect(new Set(drawn)).to.deep.equal(new Set(foldersOf('src')));
  });

  it('has every area of services, and none that is not there', () => {
    const areas = [...drawing.matchAll(/^ {14}((?:[a-z0-9-]+, )*[a-z0-9-]+) {2,}/gm)].flatMap(([, names = '']) =>
      names.split(', '),
    );
    expect(areas).to.have.members(foldersOf('src/services'));
  });
});
