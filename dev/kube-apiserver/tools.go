//go:build tools

// Package tools names the programs of Kubernetes that the comparison runs, so that go.mod pins them and go.sum holds their hashes.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
