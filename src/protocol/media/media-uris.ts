const URI = /mxc:\/\/([^/"\s\\]{1,255})\/([A-Za-z0-9_-]{1,255})/g;

/** What begins a URI of media. */
export const MEDIA_SCHEME = 'mxc://';

/** The media that a JSON text names, as `server/id`, each once, `most` of them. */
export const mediaUrisIn = (json: string, most: number): readonly string[] => {
  if (!json.includes(MEDIA_SCHEME)) return [];
  const uris = new Set<string>();
  for (const [, server, mediaId] of json.matchAll(URI)) {
    uris.add(`${server}/${mediaId}`);
    if (uris.size >= most) break;
  }
  return [...uris];
};

/**
 * The ids of a server's media that a JSON text names, each once, `most` of them. Client-Server API, "Matrix Content (mxc://) URIs". Media
 * may stand anywhere: in `url`, `file`, `info`, `avatar_url`, the images of a pack, HTML; so all of the text is looked at.
 */
export const mediaNamedIn = (json: string, serverName: string, most: number): readonly string[] =>
  ofServer(mediaUrisIn(json, most), serverName);

/** The ids of those of these media (`server/id`) that are a server's. */
export const ofServer = (uris: readonly string[], serverName: string): readonly string[] =>
  uris.flatMap((uri) => (uri.startsWith(`${serverName}/`) ? uri.slice(serverName.length + 1) : []));
