package tokens

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// server answers `GET /token?service=S&scope=repository:NAME:ACTIONS…` as the distribution project's
// "Token Authentication Specification" says. Whoever logs in gets all that they ask for.
type server struct {
	issuer  string
	service string
	expires time.Duration
	users   map[string]string // password by name
	signer  *signer

	log   io.Writer // nil: none
	mutex sync.Mutex
}

// accessLine is what the log has of a request. It has no password and no token.
type accessLine struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Scopes []string  `json:"scopes"`
	User   string    `json:"user"`
	Status int       `json:"status"`
}

func (s *server) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	user, _, _ := request.BasicAuth()
	status, answer := s.answer(request)
	writer.Header().Set("Content-Type", "application/json")
	if status == http.StatusUnauthorized {
		writer.Header().Set("WWW-Authenticate", `Basic realm="`+s.issuer+`"`)
	}
	writer.WriteHeader(status)
	_ = json.NewEncoder(writer).Encode(answer)

	if s.log == nil {
		return
	}
	line, _ := json.Marshal(accessLine{
		Time:   time.Now().UTC(),
		Method: request.Method,
		Path:   request.URL.Path,
		Scopes: append([]string{}, request.URL.Query()["scope"]...),
		User:   user,
		Status: status,
	})
	s.mutex.Lock()
	defer s.mutex.Unlock()
	_, _ = s.log.Write(append(line, '\n'))
}

// answer returns status and body. The OAuth2 way (POST) is refused, which clients take as "use GET".
func (s *server) answer(request *http.Request) (int, any) {
	query := request.URL.Query()
	name, password, _ := request.BasicAuth()
	expected, known := s.users[name]
	switch {
	case request.URL.Path != "/token":
		return http.StatusNotFound, failure("NOT_FOUND", "only /token is here")
	case request.Method != http.MethodGet:
		return http.StatusMethodNotAllowed, failure("UNSUPPORTED", "only GET is answered")
	case !known || password != expected:
		return http.StatusUnauthorized, failure("UNAUTHORIZED", "name and password are needed")
	case query.Get("service") != s.service:
		return http.StatusBadRequest, failure("UNSUPPORTED", "this is not a token server of that service")
	}
	now := time.Now().UTC().Truncate(time.Second)
	token, err := s.signer.sign(claims{
		Issuer:    s.issuer,
		Subject:   name,
		Audience:  s.service,
		Expires:   now.Add(s.expires).Unix(),
		NotBefore: now.Unix(),
		IssuedAt:  now.Unix(),
		ID:        newID(),
		Access:    parseScopes(query["scope"]),
	})
	if err != nil {
		return http.StatusInternalServerError, failure("UNKNOWN", err.Error())
	}
	return http.StatusOK, map[string]any{
		"token":      token,
		"expires_in": int(s.expires.Seconds()),
		"issued_at":  now,
	}
}

// failure is an error as registries spell one.
func failure(code, message string) any {
	return map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}}
}

// access is one thing that a token allows.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// parseScopes reads `TYPE:NAME:ACTION,ACTION`, where a name may have colons of its own (`host:5000/x`).
// One parameter may hold several scopes. What is none is left out, as the specification asks.
func parseScopes(parameters []string) []access {
	granted := []access{}
	for _, scope := range strings.Fields(strings.Join(parameters, " ")) {
		kind, rest, _ := strings.Cut(scope, ":")
		colon := strings.LastIndex(rest, ":")
		if colon < 0 {
			continue
		}
		granted = append(granted, access{
			Type:    kind,
			Name:    rest[:colon],
			Actions: strings.Split(rest[colon+1:], ","),
		})
	}
	return granted
}
