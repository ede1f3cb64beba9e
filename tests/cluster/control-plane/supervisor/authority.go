package supervisor

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority is the one certificate authority of a run. Everything that it signs lies in one folder, as
// `NAME.crt` and `NAME.key`.
type authority struct {
	folder      string
	key         crypto.Signer
	certificate *x509.Certificate
}

// lifetime of every certificate: far longer than a test, far shorter than anyone could come to rely on.
const lifetime = 7 * 24 * time.Hour

// newAuthority makes the authority (`ca.crt`, `ca.key`) in the folder, which must exist.
func newAuthority(folder string) (*authority, error) {
	a := &authority{folder: folder}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "portolan-tests"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	return a, a.write("ca", template)
}

// client signs a certificate by which a user of the API server proves a name and groups.
func (a *authority) client(file, user string, groups ...string) error {
	return a.write(file, &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: groups},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// server signs a certificate for a server at these names and addresses.
func (a *authority) server(file string, names []string, addresses ...net.IP) error {
	return a.write(file, &x509.Certificate{
		Subject:     pkix.Name{CommonName: file},
		DNSNames:    names,
		IPAddresses: addresses,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
}

// signingKey makes a bare key pair, `NAME.key` and `NAME.pub`, for ServiceAccount tokens.
func (a *authority) signingKey(file string) error {
	key, err := a.newKey(file)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(a.folder, file+".pub"), "PUBLIC KEY", public)
}

// path of a file of this authority, such as `ca.crt`.
func (a *authority) path(file string) string {
	return filepath.Join(a.folder, file)
}

// write makes a key, signs the template over it (by itself if there is no authority yet) and writes both.
func (a *authority) write(file string, template *x509.Certificate) error {
	key, err := a.newKey(file)
	if err != nil {
		return err
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 126))
	if err != nil {
		return err
	}
	template.NotBefore = time.Now().Add(-time.Minute) // whoever checks may have a clock of its own
	template.NotAfter = template.NotBefore.Add(lifetime)
	if a.key == nil {
		a.key, a.certificate = key, template
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return fmt.Errorf("cannot sign `%s`: %w", file, err)
	}
	if template == a.certificate { // what was just signed has the key identifiers that the template lacks
		if a.certificate, err = x509.ParseCertificate(signed); err != nil {
			return err
		}
	}
	return writePEM(a.path(file+".crt"), "CERTIFICATE", signed)
}

// newKey makes a private key and writes it.
func (a *authority) newKey(file string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	encoded, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(a.path(file+".key"), "EC PRIVATE KEY", encoded)
}

func writePEM(path, kind string, bytes []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600)
}
