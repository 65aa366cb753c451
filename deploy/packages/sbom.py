"""The bill of materials of the program, as CycloneDX 1.5: sbom.py OUT TARGET writes that of a target; sbom.py --check OUT TARGET [FLAG…] compares
it with Cargo.lock and with what `cargo build FLAG…` compiles for the program, in both directions."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = "portolan"
CARGO = os.environ.get("CARGO", "cargo")


def cargo(*args):
    return subprocess.run([CARGO, *args], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def tree(target, edges):
    """Name and version of everything that the edges lead to."""
    args = ("--package", PROGRAM, "--target", target, "--edges", edges, "--prefix", "none", "--format", "{p}")
    lines = cargo("tree", "--locked", *args).splitlines()
    return {tuple(re.match(r"(\S+) v(\S+)", line).groups()) for line in lines if line}


def locked():
    """Cargo.lock: the checksum of every package, none for those of this repository."""
    packages = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    return {(package["name"], package["version"]): package.get("checksum") for package in packages}


def host():
    lines = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return next(line.removeprefix("host: ") for line in lines if line.startswith("host: "))


def identity(name, version):
    return f"pkg:cargo/{name}@{version}"


def reached(start, among, metadata):
    """What is compiled of `among`: a package's build dependencies only where it has a build script."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    names = {each: (package["name"], package["version"]) for each, package in packages.items()}
    left, found = [each for each, name in names.items() if name == start], set()
    while left:
        each = left.pop()
        if each in found or names[each] not in among:
            continue
        found.add(each)
        has_script = any("custom-build" in target["kind"] for target in packages[each]["targets"])
        kinds = {None, "build"} if has_script else {None}
        left += [dep["pkg"] for dep in nodes[each]["deps"] if kinds & {kind["kind"] for kind in dep["dep_kinds"]}]
    return {names[each] for each in found}


def component(package, linked, checksums, details):
    name, version = package
    about = details[package]
    entry = {
        "type": "library",
        "bom-ref": identity(name, version),
        "name": name,
        "version": version,
        # A build script's own crates are compiled, but are no part of the program.
        "scope": "required" if package in linked else "excluded",
        "purl": identity(name, version),
    }
    if about.get("license"):
        entry["licenses"] = [{"expression": about["license"].replace("/", " OR ")}]
    if checksums[package]:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksums[package]}]
    return entry


def bill(target):
    linked, built = tree(target, "normal,no-proc-macro"), tree(target, "normal,build")
    checksums = locked()
    # Build scripts and macros are compiled for the machine that builds.
    platforms = (f"--filter-platform={platform}" for platform in {target, host()})
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1", *platforms))
    details = {(package["name"], package["version"]): package for package in metadata["packages"]}
    own = next(package for package in built if package[0] == PROGRAM)
    built = reached(own, built, metadata)
    components = [component(package, linked, checksums, details) for package in sorted(built - {own})]
    digest = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([target, components]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # The same program has the same bill.
        "serialNumber": f"urn:uuid:{digest}",
        "version": 1,
        "metadata": {
            "component": {**component(own, linked, checksums, details), "type": "application"},
            "properties": [{"name": "cargo:target", "value": target}],
        },
        "components": components,
    }


def compiled(target, flags):
    """What cargo compiled for the program, or had compiled before."""
    lines = cargo("build", "--locked", "--bin", PROGRAM, "--message-format", "json", *flags).splitlines()
    messages = (json.loads(line) for line in lines)
    ids = {message["package_id"] for message in messages if message["reason"] == "compiler-artifact"}
    # registry+…#name@1.2.3, path+file:///…/name#1.2.3, or path+…#name@1.2.3
    found = set()
    for each in ids:
        place, _, end = each.partition("#")
        name, at, version = end.rpartition("@")
        found.add((name, version) if at else (place.rpartition("/")[2], end))
    return {(PROGRAM if name not in {n for n, _ in locked()} else name, version) for name, version in found}


def check(path, target, flags):
    written = json.loads(path.read_text())
    entries = [written["metadata"]["component"], *written["components"]]
    listed = {(entry["name"], entry["version"]) for entry in entries}
    checksums = locked()
    wrong = [f"{name} {version} is listed, and not in Cargo.lock" for name, version in sorted(listed - checksums.keys())]
    for entry in entries:
        checksum = checksums.get((entry["name"], entry["version"]))
        if [each["content"] for each in entry.get("hashes", [])] != ([checksum] if checksum else []):
            wrong.append(f"{entry['name']} {entry['version']} has another checksum in Cargo.lock")
    built = compiled(target, flags)
    wrong += [f"{name} {version} is compiled, and not listed" for name, version in sorted(built - listed)]
    wrong += [f"{name} {version} is listed, and not compiled" for name, version in sorted(listed - built)]
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{path}: {len(listed)} packages, as in Cargo.lock (which has {len(checksums)}) and in the build")


def main():
    checking = sys.argv[1:2] == ["--check"]
    path, target, *flags = sys.argv[2 if checking else 1 :]
    path = pathlib.Path(path)
    if checking:
        check(path, target, flags)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(bill(target), indent=1) + "\n")
        print(f"{path}: for {target}")


if __name__ == "__main__":
    main()
