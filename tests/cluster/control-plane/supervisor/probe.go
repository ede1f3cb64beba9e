package supervisor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// probe asks servers of this run whether they are ready.
type probe struct {
	client http.Client
}

// newProbe makes a probe that trusts the authority and is the administrator. The servers that signed their
// own certificate (scheduler) are asked without a check, by a probe without authority.
func newProbe(ca *authority) (*probe, error) {
	configuration := &tls.Config{InsecureSkipVerify: ca == nil}
	if ca != nil {
		pair, err := tls.LoadX509KeyPair(ca.path("admin.crt"), ca.path("admin.key"))
		if err != nil {
			return nil, err
		}
		root, err := os.ReadFile(ca.path("ca.crt"))
		if err != nil {
			return nil, err
		}
		configuration.Certificates = []tls.Certificate{pair}
		configuration.RootCAs = x509.NewCertPool()
		configuration.RootCAs.AppendCertsFromPEM(root)
	}
	return &probe{client: http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: configuration},
	}}, nil
}

// get returns the body of an answer 200.
func (p *probe) get(url string) ([]byte, error) {
	response, err := p.client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: %.400s", url, response.Status, body)
	}
	return body, nil
}

// eventually calls `check` until it returns nil, the limit is over, the context is done, or one of the
// processes has ended.
func eventually(ctx context.Context, what string, limit time.Duration, needed []*process, check func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		for _, p := range needed {
			if p.ended() {
				return &earlyEnd{p}
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %s: %w", what, limit, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// earlyEnd is a component that ended though nobody had asked it to.
type earlyEnd struct{ process *process }

func (e *earlyEnd) Error() string {
	return fmt.Sprintf("%s ended early: %s", e.process.name, e.process.end)
}
