/** The `canonicaljson` package brings no types. */
declare module 'canonicaljson' {
  const canonicaljson: { stringify(value: unknown): string };
  export default canonicaljson;
}
