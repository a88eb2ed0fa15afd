import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { Ajv } from 'ajv';
import { asyncApiDocument } from '#src/ws/asyncapi.ts';
import { CLOSE_REASONS } from '#src/ws/close-codes.ts';
import { METHODS } from '#src/ws/methods.ts';

const NAMES = [
  'ping',
  'send',
  'state',
  'redact',
  'typing',
  'receipt',
  'read_markers',
  'presence',
  'join',
  'leave',
  'invite',
  'messages',
  'set_filter',
];

describe('WebSocket API: documents', () => {
  // oxlint-disable-next-line typescript/no-explicit-any -- a test says itself what it expects in a document
  const document: any = JSON.parse(asyncApiDocument());
  const file = (path: string): Promise<string> => readFile(new URL(`../../${path}`, import.meta.url), 'utf8');

  it('has the methods that it promises', () => {
    expect([...METHODS.keys()].toSorted()).to.deep.equal(NAMES.toSorted());
  });

  it('describes every method, its answer and every close code in AsyncAPI', () => {
    expect(document.asyncapi).to.equal('3.0.0');
    for (const name of [...NAMES, 'auth']) {
      expect(document.operations[name].action, name).to.equal('receive');
      expect(document.components.messages, name).to.include.keys(name, `${name}Result`);
    }
    expect(document['x-close-codes'].map(({ code }: { code: number }) => code)).to.have.members(
      Object.values(CLOSE_REASONS).map(({ code }) => code),
    );
  });

  it('refers to nothing that is not there', () => {
    const references = [...asyncApiDocument().matchAll(/"\$ref": "#\/([^"]+)"/g)].map(([, path]) => path ?? '');
    expect(references.length).to.be.above(50);
    for (const path of references) {
      const found = path
        .split('/')
        .reduce<Record<string, unknown> | undefined>((at, name) => at?.[name] as never, document);
      expect(found, path).to.be.an('object');
    }
  });

  it('gives examples that its own schemas allow', () => {
    const ajv = new Ajv({ strict: false });
    for (const method of METHODS.values()) {
      expect(() => method.validate(method.example), method.name).not.to.throw();
      const { payload, examples } = document.components.messages[method.name];
      expect(ajv.validate({ ...payload, components: document.components }, examples[0].payload), method.name).to.equal(
        true,
      );
    }
  });

  it('explains every method and close code in docs/websocket.md', async () => {
    const text = await file('docs/websocket.md');
    for (const name of [...NAMES, 'auth']) expect(text, name).to.include(`| \`${name}\` |`);
    for (const { code, reason } of Object.values(CLOSE_REASONS)) expect(text).to.include(`| ${code} | \`${reason}\` |`);
  });
});
