// Package tokens is a token server for the tests: it hands out the bearer tokens that a distribution registry
// asks for, and writes down who asked for what.
package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: token-server --issuer I --service S --user NAME:PASSWORD --certificate OUT.pem
                    [--listen 127.0.0.1:0] [--expires 300s] [--access-log FILE]

Answers GET /token with bearer tokens for a distribution registry, until standard input closes. Prints one line
of JSON with its address when it listens; by then the certificate that the registry needs is written.
`

// Main runs the command `token-server` and returns its exit status.
func Main(arguments []string) int {
	s := &server{users: make(map[string]string)}
	flags := flag.NewFlagSet("token-server", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(os.Stderr, usage, "\n")
		flags.PrintDefaults()
	}
	address := flags.String("listen", "127.0.0.1:0", "address to listen on")
	certificate := flags.String("certificate", "", "file to write for the registry's `auth.token.rootcertbundle`")
	accessLog := flags.String("access-log", "", "file that gets one line of JSON for each request")
	flags.StringVar(&s.issuer, "issuer", "", "the registry's `auth.token.issuer`")
	flags.StringVar(&s.service, "service", "", "the registry's `auth.token.service`")
	flags.DurationVar(&s.expires, "expires", 5*time.Minute, "how long a token is good; the registry adds a minute")
	flags.Func("user", "who may have tokens, as `NAME:PASSWORD` (may be repeated)", func(text string) error {
		name, password, found := strings.Cut(text, ":")
		if !found || name == "" {
			return errors.New("is not of the form NAME:PASSWORD")
		}
		s.users[name] = password
		return nil
	})
	if err := flags.Parse(arguments); err != nil {
		return 2
	}
	if s.issuer == "" || s.service == "" || *certificate == "" || len(s.users) == 0 || flags.NArg() > 0 {
		flags.Usage()
		return 2
	}
	if err := run(s, *address, *certificate, *accessLog); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

// run serves until standard input closes, or SIGTERM or SIGINT comes.
func run(s *server, address, certificate, accessLog string) error {
	var err error
	if s.signer, err = newSigner(); err != nil {
		return err
	}
	if err := s.signer.writeCertificate(certificate); err != nil {
		return err
	}
	if accessLog != "" {
		file, err := os.OpenFile(accessLog, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		defer file.Close()
		s.log = file
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	line, err := json.Marshal(map[string]string{"address": listener.Addr().String()})
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", line)

	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	context.AfterFunc(ctx, func() { listener.Close() })
	if err := http.Serve(listener, s); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
