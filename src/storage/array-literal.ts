/** An array as PostgreSQL writes it: `unnest` flattens arrays of arrays, so that the inner ones travel as text. */
export const arrayLiteral = (values: readonly number[]): string => `{${values.join(',')}}`;
