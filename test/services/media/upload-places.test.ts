import { expect } from 'chai';
import { UPLOADS_AT_ONCE, UPLOADS_OF_USER, UploadPlaces } from '#src/services/media/upload-places.ts';

describe('places for uploads', () => {
  const world = () => {
    const places = new UploadPlaces();
    const givenUp: string[] = [];
    const begin = (userId: string): (() => void) => places.begin(userId, () => givenUp.push(userId));
    const beginMany = (userId: string): (() => void)[] => {
      const begun: (() => void)[] = [];
      try {
        for (;;) begun.push(begin(userId));
      } catch {
        return begun;
      }
    };
    return { begin, beginMany, givenUp };
  };

  it('are a few for each user', () => {
    const { beginMany, givenUp } = world();
    const begun = beginMany('@one');
    expect(begun).to.have.length(UPLOADS_OF_USER);
    begun[0]?.();
    expect(beginMany('@one')).to.have.length(1);
    expect(givenUp).to.deep.equal([]);
  });

  it('are there for everybody else, though ten users begin as many uploads as they can and end none', () => {
    const { begin, beginMany, givenUp } = world();
    const users = Array.from({ length: 10 }, (_, i) => `@slow${i}`);
    for (let round = 0; round < 3; round++) for (const user of users) beginMany(user);
    const before = givenUp.length;
    const leave = begin('@honest');
    expect(givenUp).to.have.length(before + 1);
    for (const user of users) beginMany(user);
    expect(givenUp).not.to.include('@honest');
    leave();
    begin('@honest');
  });

  it('go to nobody at the cost of one who has hardly more', () => {
    const { begin, givenUp } = world();
    for (let i = 0; i < UPLOADS_AT_ONCE; i++) begin(`@user${i}`);
    expect(() => begin('@another')).to.throw('Too many uploads');
    expect(() => begin('@user0')).to.throw('Too many uploads');
    expect(givenUp).to.deep.equal([]);
  });

  it('are as many as there are, also where an upload ends whose place was taken', () => {
    const { begin, beginMany, givenUp } = world();
    const begun = ['@a', '@b', '@c'].flatMap(beginMany);
    expect(begun).to.have.length(UPLOADS_AT_ONCE);
    begin('@d');
    expect(givenUp).to.have.length(1);
    for (const end of begun) end();
    for (const end of begun) end();
    expect(['@a', '@b'].flatMap(beginMany)).to.have.length(16);
    expect(['@e', '@f'].flatMap(beginMany)).to.have.length.at.least(7);
  });
});
