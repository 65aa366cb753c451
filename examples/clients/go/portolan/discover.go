package portolan

import (
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
)

var lastGood sync.Map

// Discover returns the base URLs of the healthy instances, shuffled; none if Portolan knows that none is healthy.
// Without such an answer, the last good ones: an unavailable registry, or one that lost its data, must not stop its clients.
func Discover(name string) ([]string, error) {
	found, err := call("GET", "/discover?"+url.Values{"name": {name}, "healthy": {"true"}}.Encode(), "", "")
	var urls []string
	for _, one := range found.Data.Instances {
		urls = append(urls, one.BaseURL)
	}
	if err == nil {
		lastGood.Store(name, urls)
	} else if found.Code == "no_healthy_instance" {
		lastGood.Store(name, urls)
		err = nil
	} else if last, known := lastGood.Load(name); known {
		urls, err = last.([]string), nil
	}
	urls = slices.Clone(urls)
	rand.Shuffle(len(urls), func(i, j int) { urls[i], urls[j] = urls[j], urls[i] })
	return urls, err
}
