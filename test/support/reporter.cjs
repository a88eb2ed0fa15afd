'use strict';
const Mocha = require('mocha');

/** Mocha's "spec", then the names of what was skipped, then the one line that CI reads: `N passed, N failed, N skipped`. */
module.exports = class Summary extends Mocha.reporters.Spec {
  constructor(runner, options) {
    super(runner, options);
    const skipped = [];
    runner.on('pending', (test) => skipped.push(test.fullTitle()));
    this.skipped = skipped;
  }

  done(failures, finished) {
    for (const title of this.skipped) console.log(`skipped: ${title}`);
    const { passes, pending } = this.stats;
    // Failed hooks count as well: `failures` is what decides the exit code.
    console.log(`${passes} passed, ${failures} failed, ${pending} skipped`);
    finished(failures);
  }
};
