// external-dns as it is released.
module portolan.dev/tests/interop/external-dns

go 1.26.6

require sigs.k8s.io/external-dns v0.22.0
