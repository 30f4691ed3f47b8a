"""What people type to use a registry, client by client: each operation that a client has, as a shell script.

Every script says, in what it prints, what its client made of the registry. `{app}` and `{copy}` are repositories of the
client's own, `{plain}` is how a client is told that this registry speaks plain HTTP. Before a pull
the client has no image at all.
"""

OPERATIONS = ("push", "pull", "list", "catalog", "mount", "attach", "delete")

_PODMAN = "podman --root=/tmp/root --runroot=/tmp/run --storage-driver=vfs"
_LAYOUT = "rm -rf /tmp/pulled; {}; cat /tmp/pulled/index.json"

PLAIN = {"crane": "--insecure", "oras": "--plain-http", "regctl": "--host reg={host},tls=disabled"}
"""Docker, podman and skopeo are told in their files."""

SCRIPTS: dict[str, dict[str, str]] = {
    "crane": {
        "push": "crane push {plain} /tmp/image.tar {app}:v1",
        "pull": "crane pull {plain} {app}:v1 /tmp/pulled.tar; tar -xOf /tmp/pulled.tar manifest.json",
        "list": "crane ls {plain} {app}",
        "catalog": "crane catalog {plain} {host}",
        "mount": "crane copy {plain} {app}:v1 {copy}:v1",
        "delete": "crane delete {plain} {app}@$(crane digest {plain} {app}:v1)",
    },
    "regctl": {
        "push": "regctl {plain} image copy ocidir:///tmp/layout:v1 {app}:v1",
        "pull": _LAYOUT.format("regctl {plain} image copy {app}:v1 ocidir:///tmp/pulled:v1"),
        "list": "regctl {plain} tag ls {app}",
        "catalog": "regctl {plain} repo ls {host}",
        "mount": "regctl {plain} image copy {app}:v1 {copy}:v1",
        "attach": "echo note | regctl {plain} artifact put --artifact-type example/note --subject {app}:v1; "
        "regctl {plain} artifact list {app}:v1",
        "delete": "regctl {plain} manifest delete {app}@$(regctl {plain} manifest head {app}:v1)",
    },
    "oras": {
        "push": "oras cp {plain_to} --from-oci-layout /tmp/layout:v1 {app}:v1",
        "pull": _LAYOUT.format("oras cp {plain_from} {app}:v1 --to-oci-layout /tmp/pulled:v1"),
        "list": "oras repo tags {plain} {app}",
        "catalog": "oras repo ls {plain} {host}",
        "mount": "oras cp {plain_from} {plain_to} {app}:v1 {copy}:v1",
        "attach": "cd /tmp; oras attach {plain} --artifact-type example/note "
        "--annotation org.opencontainers.image.created=2026-01-02T03:04:05Z {app}:v1 note; "
        "oras discover {plain} {app}:v1",
        "delete": "oras manifest delete {plain} --force {app}@$(oras resolve {plain} {app}:v1)",
    },
    "docker": {
        "push": "docker load --quiet --input=/tmp/image.tar; docker tag busybox:v1 {app}:v1; docker push {app}:v1",
        "pull": "docker rmi --force $(docker images --quiet); docker pull {app}:v1; "
        "docker image inspect --format={{{{.Id}}}} {app}:v1",
        "mount": "docker pull {app}:v1; docker tag {app}:v1 {copy}:v1; docker push {copy}:v1",
    },
    "skopeo": {
        "push": "skopeo copy oci:/tmp/layout:v1 docker://{app}:v1",
        "pull": _LAYOUT.format("skopeo copy docker://{app}:v1 oci:/tmp/pulled:v1"),
        "list": "skopeo list-tags docker://{app}",
        "mount": "skopeo copy docker://{app}:v1 docker://{copy}:v1",
        "delete": "skopeo delete docker://{app}:v1",
    },
    "podman": {
        "push": f"{_PODMAN} load --quiet --input=/tmp/image.tar; "
        f"{_PODMAN} push docker.io/library/busybox:v1 {{app}}:v1",
        "pull": f"{_PODMAN} rmi --all --force; {_PODMAN} pull {{app}}:v1; "
        f"{_PODMAN} image inspect --format={{{{{{{{.Id}}}}}}}} {{app}}:v1",
        "list": f"{_PODMAN} search --list-tags {{app}}",
        "catalog": f"{_PODMAN} search {{host}}/",
        "mount": f"{_PODMAN} pull {{app}}:v1; {_PODMAN} push {{app}}:v1 {{copy}}:v1",
    },
}


def script(client: str, operation: str, host: str, *, plain: bool) -> str:
    """The script with everything filled in, for the registry at `host`."""
    flag = PLAIN.get(client, "").format(host=host) if plain else ""
    places = {"host": host, "app": f"{host}/{client}/app", "copy": f"{host}/{client}/copy"}
    ends = {"plain_from": flag.replace("--", "--from-"), "plain_to": flag.replace("--", "--to-")}
    return SCRIPTS[client][operation].format(plain=flag, **places, **ends)
