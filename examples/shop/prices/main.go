// The shop's prices, with the client code of ../../clients/go. Run several: each registers under its own name.
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
	"syscall"
	"time"

	"example.com/clients/portolan"
)

var prices = map[string]string{"teapot": "34.50", "cup": "12.00", "tray": "8.20"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	instance := fmt.Sprintf("prices-%d", listener.Addr().(*net.TCPAddr).Port)
	answer := func(path string, what any) {
		http.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(what) })
	}
	answer("/healthz", map[string]string{"program": "prices", "instance": instance})
	answer("/prices", map[string]any{"from": instance, "prices": prices})
	go http.Serve(listener, nil)

	portolan.StayRegistered(ctx, map[string]any{
		"name":     "prices",
		"instance": instance,
		"base_url": "http://" + listener.Addr().String(),
		"version":  "1.0.0",
		"check": map[string]any{"interval_seconds": 1, "http": map[string]any{
			"path":     "/healthz",
			"identity": map[string]any{"json": map[string]any{"/program": "$service", "/instance": "$instance"}},
		}},
	}, 30*time.Second)
}
