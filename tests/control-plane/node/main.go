// Command node is the part of a node that `kubectl port-forward` and Portolan's `--context` need: what the API server asks of a kubelet
// for pods/portforward, answered by the streaming code that nodes run. The ports of its pods are those of this machine.
//
// It prints the address that it listens on, and ends when it is killed.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/portforward"
)

const (
	// As the kubelet has them.
	idle   = 4 * time.Hour
	create = 30 * time.Second
	// How long the other direction may take to end, as containerd has it.
	rest = time.Second
)

// machine forwards to the loopback of this machine.
type machine struct{}

func (machine) PortForward(ctx context.Context, _ string, _ string, port int32, stream io.ReadWriteCloser) error {
	var dialer net.Dialer
	server, err := dialer.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer server.Close()
	ended := make(chan error, 2)
	go func() { _, err := io.Copy(stream, server); ended <- err }()
	go func() { _, err := io.Copy(server, stream); ended <- err }()
	err = <-ended
	select {
	case second := <-ended:
		if err == nil {
			err = second
		}
	case <-time.After(rest):
	}
	return err
}

func forward(w http.ResponseWriter, r *http.Request) {
	options, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	pod := r.PathValue("namespace") + "/" + r.PathValue("pod")
	portforward.ServePortForward(w, r, machine{}, pod, "", options, idle, create, portforward.SupportedProtocols)
}

// certificate is for nobody: an API server without --kubelet-certificate-authority takes any.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func main() {
	own, err := certificate()
	if err != nil {
		log.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}})
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/portForward/{namespace}/{pod}", forward)
	fmt.Printf("listening on %s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}
