# The server in a container: an unprivileged user, everything that must be kept in /data.
# PostgreSQL comes with it; set TSUDOI_DATABASE__URL to use another one.
FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund && npm cache clean --force

FROM node:24-slim
# initdb looks its user up by name.
RUN groupadd --gid 991 tsudoi && useradd --uid 991 --gid 991 --no-create-home --shell /usr/sbin/nologin tsudoi \
  && install -d -o tsudoi -g tsudoi -m 700 /data
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json ./
COPY bin bin
COPY config config
COPY migrations migrations
COPY src src
RUN ln -s /app/bin/tsudoi /usr/local/bin/tsudoi
USER tsudoi
# Compiled code is kept in the volume, since the installation belongs to root.
ENV NODE_ENV=production NODE_COMPILE_CACHE=/data/compiled TSUDOI_DATA_DIR=/data TSUDOI_HTTP__BIND=0.0.0.0
VOLUME /data
EXPOSE 8008 8448
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.TSUDOI_HTTP__PORT ?? 8008}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# No shell and no npm in between: signals reach the server.
ENTRYPOINT ["tsudoi"]
CMD ["start"]
