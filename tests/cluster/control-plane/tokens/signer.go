package tokens

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"time"
)

// signer makes JSON Web Tokens with a key that it made itself.
type signer struct {
	key         *ecdsa.PrivateKey
	keyID       string
	certificate []byte // DER, signed by the key itself
}

// claims are what a registry reads in a token.
type claims struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  string   `json:"aud"`
	Expires   int64    `json:"exp"`
	NotBefore int64    `json:"nbf"`
	IssuedAt  int64    `json:"iat"`
	ID        string   `json:"jti"`
	Access    []access `json:"access"`
}

func newSigner() (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "token-server"},
		NotBefore:             time.Now().Add(-time.Minute),
		NotAfter:              time.Now().Add(7 * 24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &signer{key: key, keyID: keyID(public), certificate: certificate}, nil
}

// keyID names a public key (DER) as registries up to 2.8 do, after libtrust: the first 240 bits of its
// SHA-256 in base32, in twelve groups of four.
func keyID(public []byte) string {
	sum := sha256.Sum256(public)
	text := base32.StdEncoding.EncodeToString(sum[:30])
	var groups []string
	for ; text != ""; text = text[4:] {
		groups = append(groups, text[:4])
	}
	return strings.Join(groups, ":")
}

// writeCertificate writes what the registry trusts.
func (s *signer) writeCertificate(path string) error {
	block := &pem.Block{Type: "CERTIFICATE", Bytes: s.certificate}
	return os.WriteFile(path, pem.EncodeToMemory(block), 0o644)
}

// sign returns the token, signed with ES256 (RFC 7518 §3.4: both numbers, 32 bytes each).
func (s *signer) sign(content claims) (string, error) {
	header, err := json.Marshal(map[string]string{"typ": "JWT", "alg": "ES256", "kid": s.keyID})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	r, sigma, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		return "", err
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	sigma.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature[:]), nil
}

// newID makes an identifier that no other token has.
func newID() string {
	return rand.Text()
}
