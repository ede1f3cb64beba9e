# Only what `make binary` made; nothing is built, fetched or run in here, so that it builds without a network.
#
#   make image
#   make image TARGET=aarch64-unknown-linux-musl
FROM scratch

# Where `make binary` put it.
ARG OUT=out

LABEL org.opencontainers.image.title="portolan"
LABEL org.opencontainers.image.description="A mutating admission webhook that brings every container image into the registry that the cluster can reach"
LABEL org.opencontainers.image.licenses="Apache-2.0"

# Roots for registries whose CA the table does not name.
COPY ${OUT}/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt

COPY ${OUT}/portolan /portolan

# What it is made of (CycloneDX), where scanners look.
COPY ${OUT}/portolan.cdx.json /usr/share/sbom/portolan.cdx.json

USER 65532:65532
EXPOSE 9443 9441
ENTRYPOINT ["/portolan"]
