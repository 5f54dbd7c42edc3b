"""TLS to upstreams: trusted authorities, and the gateway's own certificate."""

from __future__ import annotations

import ssl
from pathlib import Path

from httpx import create_ssl_context

from plano.errors import ConfigError


def tls_context(
    *,
    ca_path: str | None = None,
    certificate: str | None = None,
    key: str | None = None,
    password: str | None = None,
    verify: bool = True,
) -> ssl.SSLContext:
    """Settings for TLS to upstreams: TLS 1.2 or later, name and chain verified, HTTP/1.1 negotiated.

    Args:
        ca_path: PEM file or directory of the authorities to trust, in place of the usual ones.
        certificate: PEM file of the client's certificate and its chain.
        key: PEM file of its private key, if that is not in `certificate`.
        password: the password of the private key.
        verify: False trusts any server; use it in tests only.

    Raises:
        ConfigError: a file is missing or of the wrong kind.
    """
    try:
        context = _trusting(ca_path) if verify else create_ssl_context(verify=False)
        if certificate:
            context.load_cert_chain(certificate, key, password)
    except (OSError, ssl.SSLError) as error:
        paths = ", ".join(path for path in (ca_path, certificate, key) if path)
        raise ConfigError(f"TLS files cannot be loaded ({paths}): {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 7301: without it, a server that prefers HTTP/2 may answer in it.
    context.set_alpn_protocols(["http/1.1"])
    return context


def _trusting(ca_path: str | None) -> ssl.SSLContext:
    if ca_path is None:
        # httpx's choice: SSL_CERT_FILE and SSL_CERT_DIR from the environment, else certifi's list.
        return create_ssl_context()
    if Path(ca_path).is_dir():
        return ssl.create_default_context(capath=ca_path)
    return ssl.create_default_context(cafile=ca_path)
