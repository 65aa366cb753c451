"""Writes the release's image as an OCI layout, without Docker: image.py OUT ARCH=PROGRAM…

The programs are static; ARCH is amd64 or arm64. The image is as deploy/Dockerfile.release says, upon a base that is made here: the public CA
certificates of this machine, the user 65532 and /tmp. The same inputs give the same bytes.
"""

import gzip
import hashlib
import io
import json
import pathlib
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
CERTIFICATES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
USER, HOME = 65532, "home/nonroot"
MANIFEST, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
CONFIG, LAYER = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"


def instructions():
    """What deploy/Dockerfile.release says, by instruction."""
    found = {}
    for line in (ROOT / "deploy/Dockerfile.release").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            found[name] = rest
    return found


def layer(files):
    """A gzipped tar of (path, mode, owner, content), where no content is a folder; and the digest of the tar."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, mode, owner, content in files:
            entry = tarfile.TarInfo(path)
            entry.mode, entry.uid, entry.gid = mode, owner, owner
            entry.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            entry.size = len(content or b"")
            tar.addfile(entry, io.BytesIO(content or b""))
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as out:
        out.write(plain.getvalue())
    return packed.getvalue(), digest(plain.getvalue())


def base():
    folders = ["etc", "etc/ssl", "etc/ssl/certs", "home", "usr", "usr/local", "usr/local/bin"]
    yield from ((folder, 0o755, 0, None) for folder in folders)
    yield "tmp", 0o1777, 0, None
    yield HOME, 0o700, USER, None
    yield "etc/passwd", 0o644, 0, f"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{USER}:{USER}:nonroot:/{HOME}:/sbin/nologin\n".encode()
    yield "etc/group", 0o644, 0, f"root:x:0:\nnonroot:x:{USER}:\n".encode()
    yield "etc/ssl/certs/ca-certificates.crt", 0o644, 0, CERTIFICATES.read_bytes()


def digest(content):
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Layout:
    def __init__(self, folder):
        self.blobs = folder / "blobs/sha256"
        self.blobs.mkdir(parents=True)
        self.folder = folder

    def add(self, media_type, content, **more):
        """Keeps a blob, and describes it."""
        if isinstance(content, dict):
            content = json.dumps(content, separators=(",", ":")).encode()
        (self.blobs / digest(content).removeprefix("sha256:")).write_bytes(content)
        return {"mediaType": media_type, "digest": digest(content), "size": len(content), **more}

    def finish(self, version, manifests):
        index = self.add(INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
        named = {**index, "annotations": {"org.opencontainers.image.ref.name": version}}
        top = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [named]}
        (self.folder / "index.json").write_text(json.dumps(top))
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def image(layout, architecture, program, version):
    """Adds the image of one architecture, and describes its manifest."""
    said = instructions()
    _, target = said["COPY"].split()
    below, below_id = layer(base())
    above, above_id = layer([(target.lstrip("/"), 0o755, 0, program.read_bytes())])
    settings = {
        "User": said["USER"],
        "ExposedPorts": {f"{said['EXPOSE']}/tcp": {}},
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt", *said["ENV"].split()],
        "Entrypoint": json.loads(said["ENTRYPOINT"]),
        "Cmd": json.loads(said["CMD"]),
        "WorkingDir": said["WORKDIR"],
        "Labels": {"org.opencontainers.image.title": "portolan", "org.opencontainers.image.version": version},
    }
    platform = {"architecture": architecture, "os": "linux"}
    config = {**platform, "config": settings, "rootfs": {"type": "layers", "diff_ids": [below_id, above_id]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.add(CONFIG, config),
        "layers": [layout.add(LAYER, below), layout.add(LAYER, above)],
    }
    return layout.add(MANIFEST, manifest, platform=platform)


def is_for(program, architecture):
    """Whether the ELF file is for the architecture, so that two cannot be swapped."""
    machine = {"amd64": 62, "arm64": 183}[architecture]
    head = program.read_bytes()[:20]
    return head[:4] == b"\x7fELF" and int.from_bytes(head[18:20], "little") == machine


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    version = next(line.split('"')[1] for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version = "))
    layout = Layout(out)
    manifests = []
    for each in sys.argv[2:]:
        architecture, _, program = each.partition("=")
        program = pathlib.Path(program)
        if not is_for(program, architecture):
            sys.exit(f"{program} is no program for {architecture}")
        manifests.append(image(layout, architecture, program, version))
    layout.finish(version, manifests)
    print(f"{out}: portolan {version} for {', '.join(m['platform']['architecture'] for m in manifests)}")


if __name__ == "__main__":
    main()
