// Package portolan keeps a program registered with Portolan while it runs, and finds others. Go 1.22, no dependencies.
package portolan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

type answer struct {
	Error, Code string
	Data        struct {
		ID        string
		Instances []struct {
			Name       string
			BaseURL    string `json:"base_url"`
			Generation uint64
		}
	}
}

var server = strings.TrimRight(cmp.Or(os.Getenv("PORTOLAN_SERVER"), "http://127.0.0.1:8080"), "/")
var client = http.Client{Timeout: 3 * time.Second}

// call returns the answer, with an error unless it is a success.
func call(method, path, body, ifMatch string) (got answer, err error) {
	request, err := http.NewRequest(method, server+"/api/v1/services"+path, strings.NewReader(body))
	if err != nil {
		return got, err
	}
	request.Header.Set("Content-Type", "application/json")
	if ifMatch != "" {
		request.Header.Set("If-Match", ifMatch)
	}
	// Read for every call, because tokens expire and are replaced.
	if token, err := os.ReadFile(os.Getenv("PORTOLAN_TOKEN_FILE")); err == nil {
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	response, err := client.Do(request)
	if err != nil {
		return got, err
	}
	defer response.Body.Close()
	if err = json.NewDecoder(response.Body).Decode(&got); err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%d %s: %s", response.StatusCode, got.Code, got.Error)
	}
	return got, err
}
