"""The Certificate that docs/tls.md shows, against cert-manager's own CustomResourceDefinition. Needs Go, and a Kubernetes API under KUBECONFIG."""

import json
import pathlib
import tempfile

import yaml
from stage import NAMESPACE, ROOT, came, kubectl, overlay, run

MODULE = "github.com/cert-manager/cert-manager"
VERSION = "v1.18.2"


def definition():
    """The definition as the module has it. Its labels and annotations are for cert-manager's chart."""
    with tempfile.TemporaryDirectory() as folder:
        module = json.loads(run("go", "-C", folder, "mod", "download", "-json", f"{MODULE}@{VERSION}"))
    found = yaml.safe_load((pathlib.Path(module["Dir"]) / "deploy/crds/crd-certificates.yaml").read_text())
    found["metadata"] = {"name": found["metadata"]["name"]}
    return found


def documented():
    """The Certificate of docs/tls.md."""
    blocks = [rest.split("```")[0] for rest in (ROOT / "docs/tls.md").read_text().split("```yaml\n")[1:]]
    found = [each for block in blocks for each in yaml.safe_load_all(block) if each.get("kind") == "Certificate"]
    assert len(found) == 1, found
    return found[0]


def mounted():
    """The Secret that the component mounts."""
    built = yaml.safe_load_all(kubectl("kustomize", overlay({}, "tls")))
    pod = next(each for each in built if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    return next(each for each in pod["volumes"] if each["name"] == "tls")["secret"]["secretName"]


def main():
    kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(definition()))
    kubectl("wait", "--for=condition=Established", "crd/certificates.cert-manager.io", "--timeout=60s")
    kubectl("create", "namespace", NAMESPACE)
    certificate = documented()
    kubectl("create", "--validate=strict", "-f", "-", stdin=json.dumps(certificate))
    assert certificate["spec"]["secretName"] == mounted(), certificate
    assert certificate["metadata"]["namespace"] == NAMESPACE, certificate
    for wrong in ({"secretname": "a"}, {"usages": ["serve auth"]}):
        spoiled = certificate | {"metadata": {"name": "spoiled", "namespace": NAMESPACE}, "spec": certificate["spec"] | wrong}
        kubectl("create", "--validate=strict", "-f", "-", stdin=json.dumps(spoiled), fails=True)
    came(
        "cert-manager's Certificate",
        "the `Certificate` of docs/tls.md, on an API server with its CustomResourceDefinition",
        "accepted by strict validation; its Secret is the one that `deploy/components/tls` mounts",
    )


if __name__ == "__main__":
    main()
