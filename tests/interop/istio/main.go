// Command istio is istiod. As `istio sidecar ADDRESS CLUSTER` it is a sidecar's half of the conversation instead: it asks the istiod at
// that address which endpoints a cluster has, and prints them, one line each time istiod sends them.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"istio.io/istio/pilot/cmd/pilot-discovery/app"
)

const endpoints = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"

func main() {
	if len(os.Args) == 4 && os.Args[1] == "sidecar" {
		log.Fatal(follow(os.Args[2], os.Args[3]))
	}
	if app.NewRootCommand().Execute() != nil {
		os.Exit(1)
	}
}

// follow returns when the conversation ends.
func follow(address, cluster string) error {
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(connection).StreamAggregatedResources(context.Background())
	if err != nil {
		return err
	}
	request := &discovery.DiscoveryRequest{
		Node:          &core.Node{Id: "sidecar~127.0.0.1~client.default~default.svc.cluster.local"},
		TypeUrl:       endpoints,
		ResourceNames: []string{cluster},
	}
	for {
		if err := stream.Send(request); err != nil {
			return err
		}
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, resource := range answer.Resources {
			assignment := &endpoint.ClusterLoadAssignment{}
			if err := proto.Unmarshal(resource.Value, assignment); err != nil {
				return err
			}
			fmt.Println(strings.Join(usable(assignment), " "))
		}
		request.VersionInfo, request.ResponseNonce = answer.VersionInfo, answer.Nonce
	}
}

// usable returns where Envoy would send requests.
func usable(assignment *endpoint.ClusterLoadAssignment) []string {
	var addresses []string
	for _, locality := range assignment.Endpoints {
		for _, each := range locality.LbEndpoints {
			status := each.HealthStatus
			if status == core.HealthStatus_UNKNOWN || status == core.HealthStatus_HEALTHY {
				socket := each.GetEndpoint().Address.GetSocketAddress()
				addresses = append(addresses, fmt.Sprintf("%s:%d", socket.GetAddress(), socket.GetPortValue()))
			}
		}
	}
	sort.Strings(addresses)
	return addresses
}
