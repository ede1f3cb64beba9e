package supervisor

import (
	"fmt"
	"net"
	"strconv"
)

// freePorts names ports of 127.0.0.1 on which nobody listens now. Somebody may a moment later: whoever uses
// them tries again when a component could not bind.
func freePorts(count int) ([]string, error) {
	ports := make([]string, count)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("cannot find a free port: %w", err)
		}
		defer listener.Close() // not before all are found, so that they differ
		ports[i] = strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
