import type { StepBudget } from './step-budget.ts';

/** Literals below this length are left to `indexOf`: even where it compares all of one at each place, that is few steps. */
const SHORT = 7;

/**
 * Goes through the places at which a literal stands in a text, from `from` on, those that overlap too, until `visit` says that it is enough.
 */
export type LiteralSearch = (text: string, from: number, visit: (at: number) => boolean, budget?: StepBudget) => void;

/** Makes a literal ready to be looked for: it takes a number of steps that is linear in the text, whatever both are. */
export const literalSearch = (literal: string): LiteralSearch =>
  literal.length < SHORT ? byIndexOf(literal) : byBorders(literal);

/** Makes a literal ready to be looked for in many texts: whether it stands in one, in a number of steps as `literalSearch` takes. */
export const literalTest = (literal: string): ((text: string, budget?: StepBudget) => boolean) => {
  const search = literalSearch(literal);
  return (text, budget) => {
    let isFound = false;
    search(text, 0, () => (isFound = true), budget);
    return isFound;
  };
};

/** Up to where a text is looked through: to its end, or as far as the budget allows. */
export const stopAt = (text: string, from: number, stepsEach: number, budget: StepBudget | undefined): number =>
  budget === undefined ? text.length : Math.min(text.length, from + Math.ceil(budget.left / stepsEach));

const byIndexOf =
  (literal: string): LiteralSearch =>
  (text, from, visit, budget) => {
    let at = from;
    for (; at <= text.length; at++) {
      at = text.indexOf(literal, at);
      if (at < 0 || visit(at)) break;
    }
    budget?.spend(1 + (at < 0 ? text.length : at) - from);
  };

/** As Knuth, Morris and Pratt do: no character of the text is looked at again after a mismatch. */
const byBorders = (literal: string): LiteralSearch => {
  // Of each beginning of the literal, how much of its end is a beginning of the literal, too.
  const borders = new Int32Array(literal.length + 1);
  borders[0] = -1;
  for (let i = 0, border = -1; i < literal.length;) {
    while (border >= 0 && literal.charCodeAt(i) !== literal.charCodeAt(border)) border = borders[border]!;
    borders[++i] = ++border;
  }
  return (text, from, visit, budget) => {
    const stop = stopAt(text, from, 1, budget);
    let steps = 1;
    for (let at = from, matched = 0; at < stop;) {
      const unit = text.charCodeAt(at);
      while (matched >= 0 && unit !== literal.charCodeAt(matched)) {
        matched = borders[matched]!;
        steps++;
      }
      at++;
      matched++;
      steps++;
      if (matched < literal.length) continue;
      if (visit(at - literal.length)) break;
      matched = borders[matched]!;
    }
    budget?.spend(steps);
  };
};
