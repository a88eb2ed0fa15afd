const STANDARD = /^[A-Za-z0-9+/]*={0,2}$/;

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Base64 without `=`. Appendices, "Unpadded Base64". */
export function encodeBase64(bytes: Uint8Array): string {
  return withoutPadding(asBuffer(bytes).toString('base64'));
}

/** Base64 in the URL-safe alphabet, without `=`. Appendices, "URL-safe unpadded Base64". */
export function encodeUrlSafeBase64(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64url');
}

/** Drops the `=` at the end of base64. */
export function withoutPadding(base64: string): string {
  let end = base64.length;
  while (end > 0 && base64.charCodeAt(end - 1) === 0x3d) end--;
  return end === base64.length ? base64 : base64.slice(0, end);
}

/** Decodes standard base64 "with or without padding characters"; undefined for anything else. */
export function decodeBase64(text: string): Buffer | undefined {
  if (!STANDARD.test(text)) return undefined;
  // A single character beyond a multiple of four holds six bits: not a byte.
  return withoutPadding(text).length % 4 === 1 ? undefined : Buffer.from(text, 'base64');
}
