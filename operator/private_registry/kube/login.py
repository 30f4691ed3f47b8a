"""Where the API server is and how we identify ourselves to it: in a pod, or with a kubeconfig file.

In a pod this is three files, and nothing is imported for it: the `kubernetes` package costs 20 MiB, which an agent
would pay on every node. A kubeconfig file, with its contexts, certificates and credential plugins, is read by that
package.
"""

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class LoginError(Exception):
    """No usable credentials; the message says where they were looked for."""


@dataclass(frozen=True)
class Credentials:
    """How to reach one API server. The token is asked for anew each time: the kubelet renews it in its file."""

    server: str
    ca_path: str | None
    token: Callable[[], str | None]
    certificate_path: str | None = None
    key_path: str | None = None
    verify: bool = True

    def ssl_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_path)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate_path:
            context.load_cert_chain(self.certificate_path, self.key_path)
        return context


def login(kubeconfig: str | None = None, context: str | None = None) -> Credentials:
    """Credentials of a kubeconfig file where one is named, of the pod's service account otherwise.

    Raises LoginError.
    """
    return _from_kubeconfig(kubeconfig, context) if kubeconfig or context else _in_cluster()


def _in_cluster() -> Credentials:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    token_file = SERVICE_ACCOUNT / "token"
    if not host or not port or not token_file.exists():
        raise LoginError("not in a pod with a service account: name a file with --kubeconfig")
    literal = f"[{host}]" if ":" in host else host
    return Credentials(
        server=f"https://{literal}:{port}",
        ca_path=str(SERVICE_ACCOUNT / "ca.crt"),
        token=lambda: token_file.read_text().strip(),
    )


def _from_kubeconfig(path: str | None, context: str | None) -> Credentials:
    from kubernetes.client import Configuration  # noqa: PLC0415
    from kubernetes.config import ConfigException, load_kube_config  # noqa: PLC0415

    configuration = Configuration()
    try:
        load_kube_config(  # type: ignore[no-untyped-call]
            config_file=path, context=context, client_configuration=configuration, persist_config=False
        )
    except (ConfigException, OSError) as error:
        raise LoginError(f"kubeconfig {path or 'of the user'}: {error}") from None

    def token() -> str | None:
        value = configuration.get_api_key_with_prefix("BearerToken")
        return value.removeprefix("Bearer ") if value else None

    return Credentials(
        server=configuration.host.rstrip("/"),
        ca_path=configuration.ssl_ca_cert,
        token=token,
        certificate_path=configuration.cert_file,
        key_path=configuration.key_file,
        verify=configuration.verify_ssl,
    )
