// Registers itself: `go run . NAME [TTL]`. Answers /healthz, and /peers with the addresses of NAME.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"example.com/clients/portolan"
)

func main() {
	name, ttl := os.Args[1], 30*time.Second
	if len(os.Args) > 2 {
		seconds, err := strconv.Atoi(os.Args[2])
		if err != nil || seconds < 1 {
			log.Fatalf("%q is not a number of seconds", os.Args[2])
		}
		ttl = time.Duration(seconds) * time.Second
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"program": name})
	})
	http.HandleFunc("/peers", func(w http.ResponseWriter, _ *http.Request) {
		urls, err := portolan.Discover(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		slices.Sort(urls)
		json.NewEncoder(w).Encode(urls)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(listener, nil)

	port := listener.Addr().(*net.TCPAddr).Port
	host, _ := os.Hostname()
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	fmt.Printf("%s listens on http://%s\n", name, listener.Addr())
	portolan.StayRegistered(ctx, map[string]any{
		"name":     name,
		"instance": fmt.Sprintf("%s-%d", host, port),
		"base_url": fmt.Sprintf("http://%s", listener.Addr()),
		"version":  "2.0.0",
		"check": map[string]any{"interval_seconds": 2, "http": map[string]any{
			"path":     "/healthz",
			"identity": map[string]any{"json": map[string]any{"/program": "$service"}},
		}},
	}, ttl)
}
