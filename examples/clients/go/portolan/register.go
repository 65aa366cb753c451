package portolan

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"strings"
	"time"
)

// StayRegistered registers me with a lease of ttl, renews it until ctx is done, and then removes it.
func StayRegistered(ctx context.Context, me map[string]any, ttl time.Duration) {
	var path, generation string
	me["ttl_seconds"] = int(ttl.Seconds())
	for beat := (answer{}); ctx.Err() == nil && beat.Code != "stale_generation"; { // then a successor has taken the name
		var err error
		if beat, err = renew(me, &path, &generation); err != nil {
			log.Print("portolan: ", err) // it may be away: the next round tries again
		}
		wait := ttl / 3
		if path == "" {
			wait = ttl / 10
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait*8/10 + rand.N(wait*4/10)):
		}
	}
	// If this fails, the lease expires. If-Match protects a successor of the same name at another address.
	call("DELETE", path, "", generation)
}

func renew(me map[string]any, path, generation *string) (beat answer, err error) {
	if *path == "" {
		body, _ := json.Marshal(me)
		service, err := call("POST", "/register", string(body), "")
		if err != nil {
			return service, err
		}
		for _, one := range service.Data.Instances {
			if one.Name == me["instance"] {
				*path, *generation = fmt.Sprintf("/%s/instances/%s", service.Data.ID, one.Name), fmt.Sprint(one.Generation)
			}
		}
	}
	beat, err = call("PUT", *path+"/heartbeat", "", *generation)
	if strings.HasSuffix(beat.Code, "_not_found") {
		*path = "" // Portolan does not know this instance (any more): register again
	}
	return beat, err
}
