package tokens

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestScopesAreReadAsTheyAreAskedFor(t *testing.T) {
	for _, example := range []struct {
		asked []string
		want  []access
	}{
		{nil, []access{}},
		{[]string{"repository:a/b:pull"}, []access{{"repository", "a/b", []string{"pull"}}}},
		{[]string{"repository:host:5000/a:pull,push"}, []access{{"repository", "host:5000/a", []string{"pull", "push"}}}},
		{[]string{"repository:a:pull repository:b:pull"}, []access{
			{"repository", "a", []string{"pull"}}, {"repository", "b", []string{"pull"}},
		}},
		{[]string{"nonsense", "registry:catalog:*"}, []access{{"registry", "catalog", []string{"*"}}}},
	} {
		if got := parseScopes(example.asked); !reflect.DeepEqual(got, example.want) {
			t.Errorf("%q: got %v, want %v", example.asked, got, example.want)
		}
	}
}

func TestOnlyAUserWithItsPasswordHasATokenAndTheLogHasNeither(t *testing.T) {
	s := &server{issuer: "i", service: "s", expires: time.Minute, users: map[string]string{"robot": "secret"}}
	var err error
	if s.signer, err = newSigner(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	s.log = &log
	listener := httptest.NewServer(s)
	defer listener.Close()

	ask := func(method, query, name, password string) (int, []byte) {
		request, err := http.NewRequest(method, listener.URL+"/token?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if name != "" {
			request.SetBasicAuth(name, password)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, body
	}
	for _, example := range []struct {
		method, query, name, password string
		want                          int
	}{
		{"GET", "service=s", "", "", 401},
		{"GET", "service=s", "robot", "wrong", 401},
		{"GET", "service=s", "other", "", 401},
		{"GET", "service=other", "robot", "secret", 400},
		{"POST", "service=s", "robot", "secret", 405},
	} {
		if got, _ := ask(example.method, example.query, example.name, example.password); got != example.want {
			t.Errorf("%v: got %d", example, got)
		}
	}

	status, body := ask("GET", "service=s&scope=repository:a:pull", "robot", "secret")
	var answer struct{ Token string }
	if err := json.Unmarshal(body, &answer); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	parts := strings.Split(answer.Token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		t.Fatalf("%v, %d bytes", err, len(signature))
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, sigma := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(&s.signer.key.PublicKey, sum[:], r, sigma) {
		t.Error("the signature is wrong")
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var content claims
	if err := json.Unmarshal(payload, &content); err != nil {
		t.Fatal(err)
	}
	if content.Audience != "s" || content.Issuer != "i" || content.Subject != "robot" || len(content.Access) != 1 {
		t.Errorf("got %+v", content)
	}
	if strings.Contains(log.String(), "secret") || strings.Contains(log.String(), answer.Token) {
		t.Errorf("the log has a secret: %s", log.String())
	}
	if got := strings.Count(log.String(), "\n"); got != 6 {
		t.Errorf("%d lines in the log", got)
	}
}
