package supervisor

import (
	"encoding/base64"
	"encoding/json"
	"os"
)

// writeKubeconfig writes a kubeconfig that needs no other file: the certificates of `user` are inside.
// JSON is YAML, so no YAML library is needed.
func writeKubeconfig(path, server string, ca *authority, user string) error {
	var embedded [3]string
	for i, file := range []string{"ca.crt", user + ".crt", user + ".key"} {
		bytes, err := os.ReadFile(ca.path(file))
		if err != nil {
			return err
		}
		embedded[i] = base64.StdEncoding.EncodeToString(bytes)
	}
	type object = map[string]any
	bytes, err := json.MarshalIndent(object{
		"apiVersion": "v1",
		"kind":       "Config",
		"clusters": []object{{"name": "portolan-tests", "cluster": object{
			"server":                     server,
			"certificate-authority-data": embedded[0],
		}}},
		"users": []object{{"name": user, "user": object{
			"client-certificate-data": embedded[1],
			"client-key-data":         embedded[2],
		}}},
		"contexts": []object{{"name": "portolan-tests", "context": object{
			"cluster": "portolan-tests",
			"user":    user,
		}}},
		"current-context": "portolan-tests",
	}, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(bytes, '\n'), 0o600)
}
