//go:build tools

// Package tools names what the tests build, so that `go mod tidy` keeps it in go.mod: an etcd, a kube-apiserver, a kubectl, and for
// garbage collection a kube-controller-manager. Nothing is compiled from here; tests/control-plane builds each main package, and the one
// in node/, which names what it needs itself.
package tools

import (
	_ "go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/component-base/version"
	_ "k8s.io/kubernetes/cmd/kube-apiserver/app"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
